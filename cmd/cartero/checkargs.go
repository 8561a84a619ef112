//go:build !nodev

package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/cartero-mail/cartero/internal/options"
)

// checkArgs is the command line of a command that reads files: their names, flags of its own, and those of settings.
type checkArgs struct {
	files    []string
	own      map[string]string // given flags without their dashes; a switch has "true"
	settings []string
	wrong    []options.SettingError
}

// splitCheckArgs divides the command line. known are the command's own flags; those with false are switches, without a
// value. Flags of settings all have one.
func splitCheckArgs(args []string, known map[string]bool) checkArgs {
	call := checkArgs{own: map[string]string{}}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		flag, value, joined := strings.Cut(arg, "=")
		name := strings.TrimLeft(flag, "-")
		hasValue, isOwn := known[name]
		switch {
		case name == flag || arg == "-":
			call.files = append(call.files, arg)
		case name == "" || name == "h" || name == "help":
			if name == "" { // behind -- there are only files
				call.files, args = append(call.files, args...), nil
				continue
			}
			call.settings = append(call.settings, arg)
		case isOwn && !hasValue:
			call.turnOn(name, joined)
		case !joined && len(args) == 0:
			call.lacksValue(name, isOwn)
		case isOwn:
			if !joined {
				value, args = args[0], args[1:]
			}
			call.own[name] = value
		case joined:
			call.settings = append(call.settings, arg)
		default:
			call.settings = append(call.settings, "--"+name+"="+args[0])
			args = args[1:]
		}
	}
	return call
}

// turnOn takes a switch, which must come without a value.
func (c *checkArgs) turnOn(name string, hasValue bool) {
	if hasValue {
		c.problem("--"+name, "takes no value")
		return
	}
	c.own[name] = "true"
}

func (c *checkArgs) lacksValue(name string, isOwn bool) {
	if isOwn {
		c.problem("--"+name, "needs a value")
		return
	}
	c.problem("--"+name, "there is no such flag, or it needs a value")
}

func (c *checkArgs) problem(what, message string) {
	c.wrong = append(c.wrong, options.SettingError{Variable: what, Message: message})
}

// oneOf is the value of a flag that must be one of these words, the first of which is the default.
func (c *checkArgs) oneOf(name string, words ...string) string {
	value, given := c.own[name]
	if !given {
		return words[0]
	}
	if slices.Contains(words, value) {
		return value
	}
	c.problem("--"+name, "must be "+strings.Join(words[:len(words)-1], ", ")+" or "+words[len(words)-1])
	return words[0]
}

// invalid adds what is wrong with the command line to what is wrong with the settings. Whoever asks for help gets that.
func (c *checkArgs) invalid(command string, err error) error {
	invalid, isInvalid := errors.AsType[*options.InvalidError](err)
	switch {
	case len(c.wrong) == 0, err != nil && !isInvalid:
		return err
	case !isInvalid:
		invalid = &options.InvalidError{Command: command}
	}
	invalid.Problems = append(c.wrong, invalid.Problems...)
	return invalid
}
