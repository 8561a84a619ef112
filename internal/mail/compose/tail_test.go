package compose

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/smtp"
	"github.com/cartero-mail/cartero/internal/mail/smtp/smtptest"
)

func withFile(size int, change func(*mail.Content)) mail.Content {
	return everything(func(c *mail.Content) {
		c.Attachments = []mail.Attachment{{Name: "a.bin", ContentType: "application/octet-stream", Data: bytes.Repeat([]byte("\x00."), size/2)}}
		change(c)
	})
}

// What all mails end with is kept once, and with it each mail is what it was.
func TestTail(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		content mail.Content
		shares  bool
	}{
		"a file":       {withFile(1<<20, func(*mail.Content) {}), true},
		"a small file": {withFile(1<<10, func(*mail.Content) {}), false},
		"an image": {withFile(1<<20, func(c *mail.Content) {
			c.HTML, c.Attachments[0].ContentID, c.Attachments[0].ContentType = "<img src=\"cid:logo\">{{a}}", "logo", "image/png"
		}), true},
		"a text that is the same for all": {mail.Content{
			From: mail.Address{Address: "a@sender.example"}, Subject: "s", Text: strings.Repeat("a line\n", 20_000),
		}, true},
		"one with dots that have to be doubled": {mail.Content{
			From: mail.Address{Address: "a@sender.example"}, Subject: "s", Text: strings.Repeat(".line\n", 20_000),
		}, false},
		"a text that is not": {everything(func(c *mail.Content) { c.Text = strings.Repeat("{{a}} ", 20_000) }), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			template, err := NewTemplate(test.content)
			if err != nil {
				t.Fatal(err)
			}
			to := newRecipient()
			to.Variables = map[string]string{"a": ".", "b": "b", "c": "c"}
			whole, err := template.Append([]byte("before"), to)
			if err != nil {
				t.Fatal(err)
			}
			own, err := template.AppendOwn([]byte("before"), to)
			if err != nil {
				t.Fatal(err)
			}
			tail := template.Tail()
			if got := append(bytes.Clone(own.Raw), tail.Bytes()...); !bytes.Equal(got, whole.Raw) {
				t.Error("without its tail the mail is another one")
			}
			if (tail.Len() > 0) != test.shares || test.shares && (len(own.Raw) > 16<<10 || !bytes.HasSuffix(own.Raw, crlf)) {
				t.Errorf("%d octets of its own, %d shared", len(own.Raw), tail.Len())
			}
		})
	}
}

// A mail and its tail arrive as one.
func TestTailArrives(t *testing.T) {
	t.Parallel()
	server := smtptest.Start(t, smtptest.Script{Features: []string{"PIPELINING", "SIZE 3000000"}})
	pool, err := smtp.NewPool(smtp.Config{Host: server.Host(), Port: server.Port(), HELO: "worker.sender.example", BodyWithDot: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	template, err := NewTemplate(withFile(1<<20, func(*mail.Content) {}))
	if err != nil {
		t.Fatal(err)
	}
	to := newRecipient()
	to.Variables = map[string]string{"a": ".", "b": "..", "c": "x\n.\n"}
	whole, err := template.Append(nil, to)
	if err != nil {
		t.Fatal(err)
	}
	own, err := template.AppendOwn(nil, to)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		v := pool.SendTail(context.Background(), own.Envelope, own.Raw, template.Tail(), func() error { return nil })
		if v.Outcome != mail.Sent {
			t.Fatalf("%+v", v)
		}
	}
	for _, delivery := range server.Ledger() {
		if !bytes.Equal(delivery.Data, whole.Raw) {
			t.Errorf("it arrived otherwise, with %d octets", len(delivery.Data))
		}
	}
}
