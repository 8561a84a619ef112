//go:build !nodev

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/cartero-mail/cartero/controllers/check"
	"github.com/cartero-mail/cartero/internal/manifest"
	"github.com/cartero-mail/cartero/internal/options"
)

const previewSummary = `cartero preview makes the mail to one recipient of a campaign, as a worker would, without a cluster:

  cartero preview FILE...         files, directories, or - for standard input

  --recipient ADDRESS             the recipient (default: the first of the list)
  --line N                        the recipient on this line of the list, or at this position of an inline one
  --campaign NAME                 which campaign, where the files have several
  --list FILE                     the list, where it is not among the files
  --fetch                         fetch what urlRef names
  --output terminal|eml|html|text what is written (default: terminal, or what the name behind -o ends with)
  -o FILE                         where to (default: standard output)
  --open                          show the HTML in the browser

Without a list, the recipient is made up, and each variable stands for itself. Links for unsubscribing are examples.
The exit code is 0, 1 if no mail can be made, 2 if the command line is wrong or a file can't be read`

// runPreview shows a mail before it is sent.
func runPreview(ctx context.Context, c cli) error {
	call := splitCheckArgs(c.args, map[string]bool{
		"recipient": true, "line": true, "campaign": true, "list": true, "fetch": false, "output": true, "o": true, "open": false,
	})
	whom, output := previewCall(&call)
	checks, set, err := openCheck(c, &call, "preview", previewSummary, call.files)
	if err != nil {
		return err
	}
	preview, err := check.Make(ctx, set, checks, whom)
	if err != nil {
		return err
	}
	if preview.Sample {
		fmt.Fprintln(c.stderr, "cartero: the list is not among the files: the recipient is made up, and each variable stands for itself")
	}
	return show(ctx, c, preview, output, call)
}

// previewCall reads the flags.
func previewCall(call *checkArgs) (whom check.Whom, output string) {
	whom = check.Whom{Campaign: call.own["campaign"], Address: call.own["recipient"]}
	if len(call.files) == 0 {
		call.problem("arguments", "say which file to preview, or - for standard input")
	}
	if text, given := call.own["line"]; given {
		var err error
		if whom.Line, err = strconv.Atoi(text); err != nil || whom.Line < 1 {
			call.problem("--line", "must be a number from 1")
		}
		if whom.Address != "" {
			call.problem("--line", "give either --recipient or --line, not both")
		}
	}
	output = call.oneOf("output", "terminal", "eml", "html", "text")
	_, isGiven := call.own["output"]
	switch ending := filepath.Ext(call.own["o"]); {
	case call.own["open"] != "" && isGiven && output != "html":
		call.problem("--open", "shows HTML: leave --output out")
	case call.own["open"] != "":
		output = "html"
	case isGiven:
	case ending == ".eml", ending == ".html":
		output = ending[1:]
	case ending == ".txt":
		output = "text"
	}
	return whom, output
}

// openCheck reads settings and files of a command that checks manifests.
func openCheck(c cli, call *checkArgs, command, summary string, files []string) (check.Options, *manifest.Set, error) {
	var fetching options.Fetch
	checks := check.Options{List: call.own["list"], Now: time.Now()}
	err := options.Command{Name: command, Summary: summary + ".", Areas: []options.Area{&fetching}}.Load(call.settings, c.env, c.stdout)
	if err = call.invalid(command, err); err != nil {
		return checks, nil, err
	}
	if call.own["fetch"] != "" {
		if checks.Fetcher, err = fetching.Client(); err != nil {
			return checks, nil, err
		}
	}
	if checks.Schema, err = manifestSchema(); err != nil {
		return checks, nil, err
	}
	if checks.List != "" {
		if info, err := os.Stat(checks.List); err != nil || info.IsDir() {
			call.problem("--list", "must be the path of a readable file")
		}
	}
	set, err := manifest.Read(files, os.Stdin)
	if err != nil {
		call.problem("arguments", err.Error())
	}
	return checks, set, call.invalid(command, nil)
}

// show writes the mail to where it is wanted.
func show(ctx context.Context, c cli, preview *check.Preview, output string, call checkArgs) error {
	path, open := call.own["o"], call.own["open"] != ""
	parts, err := preview.Parts()
	if err != nil {
		return err
	}
	if output == "html" && parts.HTML == "" {
		return errors.New("the message has no HTML: --output text shows its text")
	}
	write := func(w io.Writer) error {
		var err error
		switch output {
		case "eml":
			_, err = w.Write(preview.Raw)
		case "html":
			_, err = io.WriteString(w, parts.Page())
		case "text":
			_, err = io.WriteString(w, parts.Text)
		default:
			err = parts.WriteTerminal(w)
		}
		return err
	}
	if path == "" && !open {
		return write(c.stdout)
	}
	if path, err = writePreview(path, write); err != nil {
		return fmt.Errorf("writing the preview: %w", err)
	}
	if !open {
		return nil
	}
	return openInBrowser(ctx, c, path)
}

// writePreview writes a file that nobody else may read; without a path, a temporary one. It returns the path.
func writePreview(path string, write func(io.Writer) error) (string, error) {
	var file *os.File
	var err error
	if path == "" {
		file, err = os.CreateTemp("", "cartero-preview-*.html")
	} else {
		file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	}
	if err != nil {
		return "", err
	}
	return file.Name(), errors.Join(write(file), file.Close())
}

// openInBrowser has the desktop open a file. Where there is none, it says where the file is.
func openInBrowser(ctx context.Context, c cli, path string) error {
	opener := "xdg-open"
	if runtime.GOOS == "darwin" {
		opener = "open"
	}
	if _, err := exec.LookPath(opener); err != nil {
		fmt.Fprintf(c.stderr, "cartero: there is no %s here; open the file yourself\n", opener)
		_, err := fmt.Fprintln(c.stdout, path)
		return err
	}
	if err := exec.CommandContext(ctx, opener, path).Run(); err != nil { //nolint:gosec // the path is of our own making, or the user's
		return fmt.Errorf("opening %s: %w", path, err)
	}
	_, err := fmt.Fprintln(c.stdout, path)
	return err
}
