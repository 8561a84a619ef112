package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
)

// sinkVariable makes the program the SMTP sink.
const sinkVariable = "BENCH_SINK"

// serveSink takes every mail at once and forgets it. It writes its address, and the number of mails for each line that it
// reads, until its input ends.
func serveSink(ctx context.Context, in io.Reader, out io.Writer) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	fmt.Fprintln(out, listener.Addr())
	var mails atomic.Int64
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return // closed
			}
			go func() {
				defer func() { _ = c.Close() }()
				sinkSession(c, &mails)
			}()
		}
	}()
	for lines := bufio.NewScanner(in); lines.Scan(); {
		fmt.Fprintln(out, mails.Load())
	}
	return nil
}

// sinkSession talks SMTP as far as it must, and says what common relays say.
func sinkSession(c net.Conn, mails *atomic.Int64) {
	reader, writer := bufio.NewReader(c), bufio.NewWriter(c)
	say := func(text string) bool {
		_, _ = writer.WriteString(text + "\r\n") // Flush tells
		if reader.Buffered() > 0 {
			return true // more commands are there: PIPELINING
		}
		return writer.Flush() == nil
	}
	ok := say("220 sink.example ESMTP")
	for ok {
		line, err := reader.ReadSlice('\n')
		if err != nil || len(line) < 4 {
			return
		}
		switch string(bytes.ToUpper(line[:4])) {
		case "EHLO":
			ok = say("250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES")
		case "DATA":
			if ok = say("354 Go on"); !ok || !skipMail(reader) {
				return
			}
			mails.Add(1)
			ok = say("250 2.0.0 Taken")
		case "QUIT":
			say("221 2.0.0 Bye")
			return
		default:
			ok = say("250 2.0.0 Fine")
		}
	}
}

func skipMail(reader *bufio.Reader) bool {
	begin := true
	for {
		line, err := reader.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			begin = false
			continue
		case err != nil:
			return false
		case begin && (string(line) == ".\r\n" || string(line) == ".\n"):
			return true
		}
		begin = true
	}
}

// sink is the process that runs serveSink.
type sink struct {
	address string
	cmd     *exec.Cmd
	in      io.WriteCloser
	lines   *bufio.Scanner
}

func startSink() (*sink, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &sink{cmd: exec.Command(self)}
	s.cmd.Env = append(os.Environ(), sinkVariable+"=1")
	s.cmd.Stderr = os.Stderr
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the SMTP sink: %w", err)
	}
	s.lines = bufio.NewScanner(out)
	if !s.lines.Scan() {
		return nil, errors.Join(errors.New("the SMTP sink did not start"), s.cmd.Wait())
	}
	s.address = strings.TrimSpace(s.lines.Text())
	return s, nil
}

// mails is how many have come so far.
func (s *sink) mails() (n int64, err error) {
	if _, err := io.WriteString(s.in, "\n"); err != nil {
		return 0, fmt.Errorf("asking the SMTP sink: %w", err)
	}
	if !s.lines.Scan() {
		return 0, errors.New("the SMTP sink has ended")
	}
	_, err = fmt.Sscan(s.lines.Text(), &n)
	return n, err
}

func (s *sink) close() error { return errors.Join(s.in.Close(), s.cmd.Wait()) }
