package measure

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
)

// Flags are those that benchmarks have in common. Each takes the groups that it needs, and adds its own.
type Flags struct {
	*flag.FlagSet

	// Target is that of the Makefile, which starts the servers.
	Target string
	// Cartero is the absolute path of the program that is measured.
	Cartero string
	// Database and Redis are URLs of servers that nothing else uses meanwhile.
	Database, Redis string
	// Rounds is an odd number; Only chooses what is measured; JSON is the file for the report, and From that of an earlier
	// one; both may be empty.
	Rounds     int
	Only       *regexp.Regexp
	JSON, From string

	only                             string
	needsDatabase, needsRedis, built bool
}

// NewFlags returns the flags of a benchmark that `make target` runs. What the user gets wrong is explained on usage.
func NewFlags(target string, usage io.Writer) *Flags {
	f := &Flags{FlagSet: flag.NewFlagSet("bench", flag.ContinueOnError), Target: target, Rounds: 1, Only: regexp.MustCompile("")}
	f.SetOutput(usage)
	return f
}

// Program adds -cartero.
func (f *Flags) Program() *Flags {
	f.built = true
	f.StringVar(&f.Cartero, "cartero", "bin/cartero", "the `program` that is measured")
	return f
}

// Servers adds -redis and, if asked for, -database.
func (f *Flags) Servers(database bool) *Flags {
	f.needsRedis, f.needsDatabase = true, database
	f.StringVar(&f.Redis, "redis", os.Getenv("TEST_REDIS_URL"), "`URL` of a Redis that nothing else uses meanwhile")
	if database {
		f.StringVar(&f.Database, "database", os.Getenv("TEST_DATABASE_URL"), "`URL` of a MariaDB whose user may create databases")
	}
	return f
}

// MaybeServers adds -redis and -database for a benchmark of which a part does without.
func (f *Flags) MaybeServers() *Flags {
	f.Servers(true)
	f.needsRedis, f.needsDatabase = false, false
	return f
}

// Repeated adds -rounds.
func (f *Flags) Repeated(rounds int) *Flags {
	f.IntVar(&f.Rounds, "rounds", rounds, "how often each is measured: an odd number")
	return f
}

// Chosen adds -run and -json.
func (f *Flags) Chosen(of string) *Flags {
	f.StringVar(&f.only, "run", "", "only the "+of+" whose name matches this `pattern`")
	f.StringVar(&f.JSON, "json", "", "also write the report, with every value, to this `file`")
	return f
}

// Reported adds -from, with which nothing is measured and no server needed.
func (f *Flags) Reported() *Flags {
	f.StringVar(&f.From, "from", "", "measure nothing: take the report from this `file`, which -json has written")
	return f
}

// Parse reads and checks the arguments.
func (f *Flags) Parse(args []string) error {
	if err := f.FlagSet.Parse(args); err != nil {
		return err
	}
	switch {
	case f.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", f.Arg(0))
	case f.From == "" && (f.needsRedis && f.Redis == "" || f.needsDatabase && f.Database == ""):
		return f.missing()
	case f.Rounds < 1 || f.Rounds%2 == 0:
		return errors.New("-rounds must be odd, so that a median is one of the values")
	}
	var err error
	if f.Only, err = regexp.Compile(f.only); err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	if f.built && f.Cartero != "" { // it may be started in another directory
		if f.Cartero, err = filepath.Abs(f.Cartero); err != nil {
			return fmt.Errorf("-cartero: %w", err)
		}
	}
	return nil
}

func (f *Flags) missing() error {
	what := "no Redis"
	if f.needsDatabase {
		what = "no Redis or no MariaDB"
	}
	return fmt.Errorf("%s: run `make %s`, which starts it, or see -help", what, f.Target)
}

// NoneChosen is the error of a -run that matches nothing.
func (f *Flags) NoneChosen() error { return fmt.Errorf("-run %s matches nothing", f.only) }
