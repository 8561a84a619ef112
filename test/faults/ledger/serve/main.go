// Command serve runs the relay of package ledger as a process of its own, which may be killed and started again on the
// same book.
//
//	go run ./test/faults/ledger/serve -listen 127.0.0.1:2525 -book ledger.jsonl
//
// It prints a line "Listening at ADDRESS" once it takes connections. Each line that it reads is a script for the mails that
// come next, as Server.Next has it; an empty line makes it friendly. It ends with its input, or on SIGTERM.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/cartero-mail/cartero/test/faults/ledger"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "ledger:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	var config ledger.Config
	flags.StringVar(&config.Address, "listen", "127.0.0.1:0", "`address` to listen at")
	flags.StringVar(&config.Path, "book", "ledger.jsonl", "`file` of what was accepted")
	features := flags.String("features", "PIPELINING,8BITMIME", "EHLO `keywords`, separated by commas")
	flags.StringVar(&config.Username, "username", "", "user of the account that is demanded; none unless set")
	config.Password = os.Getenv("LEDGER_PASSWORD")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config.Features = strings.FieldsFunc(*features, func(r rune) bool { return r == ',' })
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := ledger.New(config)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Listening at %s\n", s.Addr())
	go func() {
		defer stop()
		scripts(s, in)
	}()
	<-ctx.Done()
	return s.Close()
}

// scripts follows what is read until it ends.
func scripts(s *ledger.Server, in io.Reader) {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		if err := s.Next(strings.TrimSpace(lines.Text())); err != nil {
			fmt.Fprintln(os.Stderr, "ledger:", err)
		}
	}
}
