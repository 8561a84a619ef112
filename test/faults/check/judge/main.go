// Command judge says which invariants of package check a run has broken, and for whom. It ends with 1 if any, with 2 if it
// could not judge.
//
//	go run ./test/faults/check/judge -database mysql://… -ledger ledger.jsonl -history history.jsonl -outputs logs/ \
//	    -queue queue.jsonl -journals journals/ -secrets secrets -lossy
//
// The database's URL may also come from DATABASE_URL.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/test/faults/check"
)

func main() {
	holds, err := run(context.Background(), os.Args[1:], os.Stdout)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "judge:", err)
		os.Exit(2)
	case !holds:
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (holds bool, err error) {
	flags := flag.NewFlagSet("judge", flag.ContinueOnError)
	var files check.Files
	database := flags.String("database", os.Getenv("DATABASE_URL"), "`URL` of the database")
	from := flags.String("from", "", "SMTP_FROM of the workers: an `address`")
	flags.StringVar(&files.Ledger, "ledger", "", "the relay's book: a `file`")
	flags.StringVar(&files.History, "history", "", "what was done and seen: a `file`")
	flags.StringVar(&files.Queue, "queue", "", "the queue's keys: a `file`")
	flags.StringVar(&files.Outputs, "outputs", "", "`directory` of what the processes said")
	flags.StringVar(&files.Journals, "journals", "", "`directory` of the workers' journals")
	flags.StringVar(&files.Secrets, "secrets", "", "what must not be told: a `file`, one on each line")
	judged := check.Run{}
	flags.BoolVar(&judged.Lossy, "lossy", false, "processes were killed or connections cut: a reply that was sent may be lost")
	if err := flags.Parse(args); err != nil {
		return false, err
	}
	if err := judged.Read(files); err != nil {
		return false, err
	}
	if err := judged.Load(ctx, *database, mail.Address{Address: *from}); err != nil {
		return false, err
	}
	report := check.Check(judged)
	report.Print(out)
	return len(report.Violations) == 0, nil
}
