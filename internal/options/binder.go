package options

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Setting describes one setting for --help and the documentation.
type Setting struct {
	// Area is the heading under which it is listed.
	Area string
	// Variable is the environment variable; Flag the flag without its dashes, derived from it.
	Variable string
	Flag     string
	// Default is the text that stands for the value where none is given; empty for none.
	Default string
	// Meaning is one line for people.
	Meaning string
	// Required tells that the command does not start without it.
	Required bool
	// Embedded tells that the command brings its own where none is given (cartero dev).
	Embedded bool
}

// defaultText is what --help and the documentation say of the default.
func (s Setting) defaultText() string {
	switch {
	case s.Required:
		return "required"
	case s.Embedded:
		return "default: embedded"
	case s.Default == "":
		return "no default"
	default:
		return "default: " + s.Default
	}
}

// Binder collects the settings of a command.
type Binder struct {
	area     string
	settings []*bound
}

// bound is a setting with its way into a field.
type bound struct {
	Setting
	flag flagValue
	// verbatim keeps blanks around the value, which may be part of a password.
	verbatim bool
	parse    func(text string) error
}

// flagValue remembers what a flag was given; it is judged later, together with everything else.
type flagValue struct {
	text   string
	given  bool
	isBool bool
}

// String implements flag.Value.
func (f *flagValue) String() string { return f.text }

// Set implements flag.Value.
func (f *flagValue) Set(text string) error {
	f.text, f.given = text, true
	return nil
}

// IsBoolFlag lets a switch stand alone: --leader-elect.
func (f *flagValue) IsBoolFlag() bool { return f.isBool }

// resolve picks the value and sets the field. After an error the field has the default. An empty variable counts as
// not set; an empty flag asks for the default.
func (s *bound) resolve(env Lookup) error {
	text := s.Default
	if s.flag.given {
		text = s.trim(s.flag.text)
	} else if value, ok := env(s.Variable); ok {
		text = s.trim(value)
	}
	if text == "" {
		text = s.Default
	}
	err := s.parse(text)
	if err == nil {
		return nil
	}
	if fallback := s.parse(s.Default); fallback != nil {
		return errors.Join(err, fallback)
	}
	return err
}

func (s *bound) trim(text string) string {
	if s.verbatim {
		return strings.TrimRight(text, "\r\n") // Secrets made from files often end with a newline.
	}
	return strings.TrimSpace(text)
}

// Area starts a group of settings.
func (b *Binder) Area(title string) { b.area = title }

// Spec says what a setting is called and means.
type Spec struct {
	Variable string
	Default  string
	Meaning  string
	Required bool
	Embedded bool
}

func (b *Binder) add(spec Spec, parse func(string) error) *bound {
	s := &bound{
		Setting: Setting{
			Area: b.area, Variable: spec.Variable, Flag: FlagName(spec.Variable), Default: spec.Default,
			Meaning: spec.Meaning, Required: spec.Required, Embedded: spec.Embedded,
		},
		parse: parse,
	}
	b.settings = append(b.settings, s)
	return s
}

// FlagName derives a flag from its variable: SMTP_SERVER is smtp-server.
func FlagName(variable string) string { return strings.ReplaceAll(strings.ToLower(variable), "_", "-") }

// String binds a text.
func (b *Binder) String(target *string, spec Spec) {
	b.add(spec, func(text string) error {
		*target = text
		return nil
	})
}

// Password binds a text in which blanks count.
func (b *Binder) Password(target *string, spec Spec) {
	b.String(target, spec)
	b.settings[len(b.settings)-1].verbatim = true
}

// List binds texts separated by commas; empty ones are dropped.
func (b *Binder) List(target *[]string, spec Spec) {
	b.add(spec, func(text string) error {
		*target = nil
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				*target = append(*target, item)
			}
		}
		return nil
	})
}

// Int binds a whole number from least to most.
func (b *Binder) Int(target *int, spec Spec, least, most int) {
	b.add(spec, func(text string) error {
		n, err := strconv.Atoi(text)
		if err != nil || n < least || n > most {
			return fmt.Errorf("must be a whole number from %d to %d", least, most)
		}
		*target = n
		return nil
	})
}

// Bool binds a switch: true/false, yes/no, 1/0 (on/off too), in any case.
func (b *Binder) Bool(target *bool, spec Spec) {
	s := b.add(spec, func(text string) error {
		on, err := parseBool(text)
		if err == nil {
			*target = on
		}
		return err
	})
	s.flag.isBool = true
}

func parseBool(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "yes", "1", "on", "t", "y":
		return true, nil
	case "false", "no", "0", "off", "f", "n":
		return false, nil
	}
	return false, errors.New("must be true or false (yes, no, 1 and 0 are accepted too)")
}

// Enum binds one of several words, in any case.
func (b *Binder) Enum(target *string, spec Spec, words ...string) {
	b.add(spec, func(text string) error {
		for _, word := range words {
			if strings.EqualFold(word, text) {
				*target = word
				return nil
			}
		}
		return fmt.Errorf("must be %s", strings.Join(words, " or "))
	})
}

// Duration binds a time span in Go's syntax, from least to most.
func (b *Binder) Duration(target *time.Duration, spec Spec, least, most time.Duration) {
	b.add(spec, func(text string) error {
		if _, err := strconv.ParseFloat(text, 64); err == nil && text != "0" {
			return errors.New("is a number without a unit: add one, such as 500ms, 10s, 5m or 2h")
		}
		d, err := time.ParseDuration(text)
		if err != nil {
			return errors.New("must be a duration with a unit, such as 500ms, 10s, 5m or 1h30m")
		}
		if d < least || d > most {
			return fmt.Errorf("must be from %s to %s", durationText(least), durationText(most))
		}
		*target = d
		return nil
	})
}

// durationText writes a duration without its zero parts: 48h, not 48h0m0s.
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// byteUnits are tried in this order, so that "MiB" is not taken for "B".
var byteUnits = []struct {
	suffix string
	factor int64
}{
	{"kib", 1 << 10},
	{"mib", 1 << 20},
	{"gib", 1 << 30},
	{"ki", 1 << 10},
	{"mi", 1 << 20},
	{"gi", 1 << 30},
	{"kb", 1e3},
	{"mb", 1e6},
	{"gb", 1e9},
	{"k", 1e3},
	{"m", 1e6},
	{"g", 1e9},
	{"b", 1},
}

// Bytes binds a size such as 32MiB, from least to most bytes. A bare number is bytes.
func (b *Binder) Bytes(target *int64, spec Spec, least, most int64) {
	b.add(spec, func(text string) error {
		n, err := parseBytes(text)
		if err != nil || n < least || n > most {
			return fmt.Errorf("must be a size such as 32MiB, from %d to %d bytes", least, most)
		}
		*target = n
		return nil
	})
}

func parseBytes(text string) (int64, error) {
	text = strings.ToLower(strings.TrimSpace(text))
	factor := int64(1)
	for _, unit := range byteUnits {
		if number, ok := strings.CutSuffix(text, unit.suffix); ok {
			text, factor = strings.TrimSpace(number), unit.factor
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, err
	}
	if n < 0 || n > math.MaxInt64/factor {
		return 0, strconv.ErrRange
	}
	return n * factor, nil
}
