// Package options has the typed settings of every command. Each setting is an environment variable and a flag of the
// same meaning (SMTP_SERVER, --smtp-server): the flag outranks the variable, the variable the default. Wrong settings
// are refused all at once, by variable name, and no message repeats a value, since any value may be a misplaced secret.
package options

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// Lookup finds an environment variable, as os.LookupEnv does.
type Lookup func(name string) (string, bool)

// Area is a group of settings that belong together. Its fields are set by Command.Load.
type Area interface {
	// Bind declares the area's settings.
	Bind(b *Binder)
	// Validate checks what one value alone can't tell. It returns SettingErrors, joined.
	Validate() error
}

// Command is a sub-command and the settings that it takes.
type Command struct {
	// Name is what follows "cartero" on the command line.
	Name string
	// Summary is one sentence for the head of --help.
	Summary string
	Areas   []Area
}

// SettingError is one wrong setting.
type SettingError struct {
	// Variable is the environment variable; it is a flag or argument where no setting has that name.
	Variable string
	// Message says what is accepted. It never holds the value.
	Message string
}

// Error implements error.
func (p SettingError) Error() string { return p.Variable + ": " + p.Message }

// InvalidError lists everything that is wrong with the settings of a command.
type InvalidError struct {
	Command  string
	Problems []SettingError
}

// Error implements error: one line per problem.
func (e *InvalidError) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "wrong settings (see cartero %s --help):", e.Command)
	for _, p := range e.Problems {
		text.WriteString("\n  " + p.Error())
	}
	return text.String()
}

// Load sets the fields of the command's areas from the flags in args and from the environment. It fails with
// *InvalidError, or with flag.ErrHelp once it has written the help to out.
func (c Command) Load(args []string, env Lookup, out io.Writer) error {
	binder := c.bind()
	flags := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	for _, s := range binder.settings {
		flags.Var(&s.flag, s.Flag, s.Meaning)
	}

	problems, err := parseArgs(flags, args)
	if errors.Is(err, flag.ErrHelp) {
		if err := c.WriteHelp(out); err != nil {
			return fmt.Errorf("writing the help: %w", err)
		}
		return flag.ErrHelp
	}

	wrong := map[string]bool{}
	for _, s := range binder.settings {
		if err := s.resolve(env); err != nil {
			wrong[s.Variable] = true
			problems = append(problems, SettingError{Variable: s.Variable, Message: err.Error()})
		}
	}
	for _, area := range c.Areas {
		for _, p := range problemsOf(area.Validate()) {
			if !wrong[p.Variable] {
				problems = append(problems, p)
			}
		}
	}
	if len(problems) > 0 {
		return &InvalidError{Command: c.Name, Problems: problems}
	}
	return nil
}

// Settings describes the command's settings in the order of --help.
func (c Command) Settings() []Setting {
	binder := c.bind()
	settings := make([]Setting, 0, len(binder.settings))
	for _, s := range binder.settings {
		settings = append(settings, s.Setting)
	}
	return settings
}

func (c Command) bind() *Binder {
	binder := &Binder{}
	for _, area := range c.Areas {
		area.Bind(binder)
	}
	return binder
}

// WriteHelp writes the settings in groups: flag, variable, default and meaning.
func (c Command) WriteHelp(w io.Writer) error {
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n\nUsage:\n  cartero %s [flags]\n\nEach flag may be given as the environment variable beside it; "+
		"the flag outranks the variable.\n", c.Summary, c.Name)
	group := ""
	for _, s := range c.Settings() {
		if s.Area != group {
			group = s.Area
			fmt.Fprintf(&text, "\n%s:\n", group)
		}
		fmt.Fprintf(&text, "  --%-28s %s\n      %s (%s)\n", s.Flag, s.Variable, s.Meaning, s.defaultText())
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// parseArgs reads all flags, going on after unknown ones so that every mistake is found in one run.
func parseArgs(flags *flag.FlagSet, args []string) ([]SettingError, error) {
	var problems []SettingError
	afterUnknown := false
	for {
		err := flags.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		rest := flags.Args()
		if err != nil {
			problems = append(problems, SettingError{Variable: flagName(args[len(args)-len(rest)-1]), Message: flagProblem(err)})
			args, afterUnknown = rest, true
			continue
		}
		if len(rest) == 0 {
			return problems, nil
		}
		// What stands after an unknown flag may be its value: one message is enough.
		if !afterUnknown {
			problems = append(problems, SettingError{Variable: "arguments", Message: "this command takes flags only (--name=value)"})
		}
		args, afterUnknown = rest[1:], true
	}
}

// flagName cuts the value off a flag as it was written: it may be a secret.
func flagName(argument string) string {
	name, _, _ := strings.Cut(argument, "=")
	return name
}

func flagProblem(err error) string {
	if strings.HasPrefix(err.Error(), "flag needs an argument") {
		return "the flag needs a value (--name=value)"
	}
	return "there is no such flag (--help lists them)"
}

// problemsOf flattens what Validate returned.
func problemsOf(err error) []SettingError {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []SettingError
		for _, e := range joined.Unwrap() {
			all = append(all, problemsOf(e)...)
		}
		return all
	}
	if p, ok := errors.AsType[SettingError](err); ok {
		return []SettingError{p}
	}
	return []SettingError{{Variable: "settings", Message: err.Error()}}
}

// Secrets returns the secret values in the areas, for telemetry to mask: passwords, keys, and passwords inside URLs.
func Secrets(areas ...Area) []string {
	var all []string
	for _, area := range areas {
		if holder, ok := area.(interface{ secrets() []string }); ok {
			all = append(all, holder.secrets()...)
		}
	}
	return all
}
