package campaign_test

import (
	"testing"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
)

// What is added to every campaign by itself changes no hash: campaigns of earlier versions stay the same campaigns.
func TestSameContent(t *testing.T) {
	t.Parallel()
	news := mail.Address{Address: "news@example.com"}
	plain := campaign.Content{From: news, Subject: "News", HTML: "<p>News</p>"}
	with := func(mutate func(*campaign.Content)) campaign.Content {
		content := plain
		mutate(&content)
		return content
	}
	now := with(func(c *campaign.Content) { c.DeriveText, c.Suppress, c.Unsubscribe.Managed = true, true, true })
	for _, tc := range []struct {
		name   string
		opened string // the hash of what was opened
		draft  campaign.Draft
		want   bool
	}{
		{"itself", campaign.Draft{Content: now}.ContentHash(), campaign.Draft{Content: now}, true},
		{"opened by a version without them", plain.Hash(), campaign.Draft{Content: now, DefaultUnsubscribe: true}, true},
		{"and with a default sender in the hash", plain.Hash(), campaign.Draft{Content: now, DefaultUnsubscribe: true, DefaultSender: true}, true},
		{"another default sender", campaign.Draft{Content: now, DefaultSender: true}.ContentHash(), campaign.Draft{
			Content: with(func(c *campaign.Content) {
				*c = now
				c.From.Address = "other@example.com"
			}), DefaultSender: true,
		}, true},
		{"unsubscribing that was asked for", plain.Hash(), campaign.Draft{Content: now}, false},
		{"another subject", plain.Hash(), campaign.Draft{Content: with(func(c *campaign.Content) { c.Subject = "Old news" })}, false},
		{"a template", plain.Hash(), campaign.Draft{Content: with(func(c *campaign.Content) { c.Mustache = true })}, false},
		{
			"a receipt that everybody gets, and one that is suppressed",
			campaign.Draft{Content: with(func(c *campaign.Content) { c.AutoSubmitted = true })}.ContentHash(),
			campaign.Draft{Content: with(func(c *campaign.Content) { c.AutoSubmitted, c.Suppress = true, true })},
			false,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := tc.draft.SameContent(campaign.Record{ContentHash: tc.opened}); got != tc.want {
				t.Errorf("SameContent = %t, want %t", got, tc.want)
			}
		})
	}
}

func TestMailtoURI(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"": "", "leave@example.com": "mailto:leave@example.com", "leave+a&b?c%d@example.com": "mailto:leave%2Ba%26b%3Fc%25d@example.com",
	} {
		if got := (campaign.Unsubscribe{Mailto: address}).MailtoURI(); got != want {
			t.Errorf("MailtoURI of %q = %q, want %q", address, got, want)
		}
	}
}
