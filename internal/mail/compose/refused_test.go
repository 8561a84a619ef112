package compose

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/render"
)

func TestTemplateRefused(t *testing.T) {
	t.Parallel()
	attach := func(a mail.Attachment) func(*mail.Content) {
		return func(c *mail.Content) { c.Attachments = []mail.Attachment{a} }
	}
	tests := map[string]struct {
		change func(*mail.Content)
		want   string
	}{
		"template":        {func(c *mail.Content) { c.Text = "a\n{{#if a}}" }, "text: line 2, column 1: {{#if …}} is not supported: {{#a}}…{{/a}} is shown where the variable has a value"},
		"header":          {func(c *mail.Content) { c.Headers["X-A"] = "a\r\nBcc: b" }, "headers[X-A]: line 1, column 2: a header field is one line: remove the line break or NUL"},
		"no body":         {func(c *mail.Content) { c.Text, c.HTML = "", "" }, "body is empty: text, html or both must be set"},
		"list":            {func(c *mail.Content) { c.ListID = "my list" }, "List-Id needs an identifier such as news.example.com: letters, digits, hyphens and dots, at most 252"},
		"sender's domain": {func(c *mail.Content) { c.From.Address = "a@\u2066.example" }, "From is an address whose domain is not an internationalised host name"},
		"name with path":  {attach(mail.Attachment{Name: "../x", ContentType: "a/b"}), "attachments hold one whose name is empty, longer than 255 octets, or has control characters or slashes"},
		"no type":         {attach(mail.Attachment{Name: "x", ContentType: "pdf"}), `attachments hold one whose content type is not of the form type/subtype: "x"`},
		"type and break":  {attach(mail.Attachment{Name: "x", ContentType: "a/b\r\nBcc: c"}), `attachments hold one whose content type is not of the form type/subtype: "x"`},
		"a message":       {attach(mail.Attachment{Name: "x", ContentType: "message/rfc822"}), `attachments hold one of type "message/rfc822", which cannot be attached as a file: "x"`},
		"content id":      {attach(mail.Attachment{Name: "x", ContentType: "a/b", ContentID: "a>b"}), `attachments hold one whose content id has characters other than letters, digits and ._+-@: "x"`},
		"same id twice": {func(c *mail.Content) {
			c.Attachments = slices.Repeat([]mail.Attachment{{Name: "x", ContentType: "a/b", ContentID: "l"}}, 2)
		}, `attachments hold two with the content id "l"`},
		"too much": {attach(mail.Attachment{Name: "x", ContentType: "a/b", Data: make([]byte, MaxAttachments+1)}), "attachments are larger than 10485760 octets together"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := NewTemplate(everything(tt.change))
			var refused *InvalidError
			if !errors.As(err, &refused) || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestRecipientRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*Recipient)
		want   string
	}{
		"fine":              {func(*Recipient) {}, ""},
		"variable missing":  {func(r *Recipient) { delete(r.Variables, "a") }, `subject: line 1, column 1: the variable "a" is missing: give it to every recipient, or a default: {{a}}{{^a}}default{{/a}}`},
		"injected":          {func(r *Recipient) { r.Variables["a"] = "x\r\nBcc: eve@evil.example" }, `subject: line 1, column 1: the value of the variable "a" holds a line break or a NUL, which a header field cannot`},
		"long header":       {func(r *Recipient) { r.Variables["a"] = strings.Repeat("x", 5000) }, "subject: with this recipient's variables it is larger than 4096 octets"},
		"long word":         {func(r *Recipient) { r.Variables["a"] = strings.Repeat("x", 901) }, "X-A holds a word of more than 900 characters"},
		"address":           {func(r *Recipient) { r.Address = "a b@c.example" }, "To is " + mail.ErrAddressSyntax.Error()},
		"no date":           {func(r *Recipient) { r.Date = time.Time{} }, "Date is missing"},
		"no id":             {func(r *Recipient) { r.MessageID = "x" }, "Message-ID is not of the form left@right"},
		"not https":         {func(r *Recipient) { r.UnsubscribeURL = "http://x.example" }, "List-Unsubscribe needs an https URI in ASCII, without spaces and angle brackets"},
		"unsubscribe ends":  {func(r *Recipient) { r.UnsubscribeURL += ">" }, "List-Unsubscribe needs an https URI in ASCII, without spaces and angle brackets"},
		"unsubscribe mails": {func(r *Recipient) { r.UnsubscribeMailto = "leave@x.example" }, "List-Unsubscribe needs a mailto URI in ASCII, without spaces and angle brackets"},
		"unsubscribe long":  {func(r *Recipient) { r.UnsubscribeURL += strings.Repeat("x", 990) }, "List-Unsubscribe is longer than 998 octets"},
	}
	template, err := NewTemplate(everything())
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range tests {
		to := newRecipient()
		to.Variables = map[string]string{"a": "a", "b": "b", "c": "c"}
		tt.change(&to)
		_, err := template.Append(nil, to)
		if timeless := strings.HasPrefix(name, "no "); (template.Check(to) == nil) != (err == nil || timeless) {
			t.Errorf("%s: Append says %v, Check %v", name, err, template.Check(to))
		}
		got := ""
		if err != nil {
			got = err.Error()
			if _, ok := errors.AsType[*InvalidError](err); !ok {
				t.Errorf("%s: an error of another kind", name)
			}
		}
		if got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, tt.want)
		}
	}
	_, err = template.Append(nil, newRecipient())
	if missing, ok := errors.AsType[*render.MissingError](err); !ok || missing.Variable != "a" || missing.Line != 1 {
		t.Errorf("the error of the template is lost: %v", err)
	}
}
