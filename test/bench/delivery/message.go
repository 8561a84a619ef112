package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/compose"
)

const (
	from    = "news@bench.example"
	subject = "News of this week"
	// minSize is the smallest mail that -size may ask for: header, and something to read.
	minSize = 1024
)

// address is that of the n-th recipient: the sink knows it by its number.
func address(n int) string { return fmt.Sprintf("%07d.reader@readers.example", n) }

// people is a list of recipients that has been read.
type people struct{ next, end int }

// Next implements campaign.List.
func (p *people) Next(context.Context) (campaign.Recipient, error) {
	if p.next == p.end {
		return campaign.Recipient{}, io.EOF
	}
	p.next++
	return campaign.Recipient{Address: address(p.next - 1), Name: "Ada Reader"}, nil
}

// Totals implements campaign.List.
func (p *people) Totals() campaign.Totals { return campaign.Totals{} }

// content is a mail whose size is about that, the same for everybody: HTML alone, in ASCII, as the Node workers mail it.
func content(size int) (campaign.Content, error) {
	c := campaign.Content{From: mail.Address{Address: from}, Subject: subject, HTML: "<html><body>\n"}
	const paragraph = "<p>The quick brown fox jumps over the lazy dog, and then over the next.</p>\n"
	const end = "</body></html>\n"
	empty, err := composed(c, 0)
	if err != nil {
		return c, err
	}
	lines := strings.Count(paragraph, "\n") * (size - len(empty)) / (len(paragraph) + 1) // CRLF
	c.HTML += strings.Repeat(paragraph, max(lines, 1)) + end
	return c, nil
}

// composed is the mail to the n-th recipient as Cartero makes it.
func composed(c campaign.Content, n int) ([]byte, error) {
	t, err := compose.NewTemplate(c.Mail())
	if err != nil {
		return nil, fmt.Errorf("compiling the mail: %w", err)
	}
	m, err := t.Append(nil, recipient(n))
	return m.Raw, err
}

// recipient is what the composer is told of the n-th.
func recipient(n int) compose.Recipient {
	return compose.Recipient{
		Address: address(n), Name: "Ada Reader", MessageID: "0123456789abcdef0123456789abcdef@bench.example",
		Date: time.Date(2026, time.January, 5, 9, 0, 0, 0, time.UTC),
	}
}
