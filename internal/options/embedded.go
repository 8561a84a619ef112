package options

import "strings"

// Embedded says whether the facade brings along what it needs, and where the data of that is.
type Embedded struct {
	// Enabled: the facade has a database, a queue and a worker of its own, in its process.
	Enabled bool
	// DataDir is the directory of their data.
	DataDir string
}

// Bind implements Area.
func (o *Embedded) Bind(b *Binder) {
	b.Area("HTTP facade, embedded")
	b.Bool(&o.Enabled, Spec{
		Variable: EmbeddedVariable, Default: "false",
		Meaning: "the facade brings database, queue and worker along, in its process (not in the container image)",
	})
	b.String(&o.DataDir, Spec{
		Variable: "DATA_DIR", Default: "cartero-data",
		Meaning: "with EMBEDDED, directory of the database and the delivery journal; it must outlive the process",
	})
}

// Validate implements Area.
func (o *Embedded) Validate() error { return nil }

// EmbeddedVariable is the switch that decides which settings the facade takes.
const EmbeddedVariable = "EMBEDDED"

// Switched reports whether a switch is on, before the settings that depend on it are known. What is wrong with it is told
// by Load.
func Switched(args []string, env Lookup, variable string) bool {
	text, _ := env(variable)
	for _, arg := range args {
		name, value, given := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"), "=")
		if !strings.HasPrefix(arg, "-") || name != FlagName(variable) {
			continue
		}
		if text = value; !given {
			text = "true"
		}
	}
	on, err := parseBool(strings.TrimSpace(text))
	return err == nil && on
}
