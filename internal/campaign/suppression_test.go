package campaign_test

import (
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
)

// Without an enhanced code, the words of a reply decide whether the mailbox is to blame.
func TestHardBounceByWords(t *testing.T) {
	t.Parallel()
	for detail, want := range map[string]bool{
		"550 User unknown": true, "550 No Such User Here": true, "550 mailbox not found": true, "553 sorry, invalid mailbox": true,
		"550 The email account that you tried to reach does not exist": true,
		"550 Requested action not taken: mailbox unavailable":          false, "550 blocked by our policy": false, "550": false, "": false,
		"550 your domain does not exist": false, "550 Access denied": false,
	} {
		result := campaign.Result{State: campaign.StateBounced, Code: 550, Category: mail.CategoryBadMailbox, Detail: detail}
		if reason, got := result.HardBounce(); got != want || want && reason != campaign.SuppressedBadMailbox {
			t.Errorf("%q: got %v (%s), want %v", detail, got, reason, want)
		}
	}
}

func TestFullness(t *testing.T) {
	t.Parallel()
	day := func(n int) time.Time {
		return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(n) * 24 * time.Hour)
	}
	cases := map[string]struct {
		days     []int
		accepted int // the day, -1 for none
		want     bool
	}{
		"once":                   {[]int{0}, -1, false},
		"often in 13 days":       {[]int{0, 1, 2, 3, 4, 5, 13}, -1, false},
		"five times in 14 days":  {[]int{0, 1, 2, 3, 14}, -1, true},
		"four times in 14 days":  {[]int{0, 1, 2, 14}, -1, false},
		"accepted in between":    {[]int{0, 1, 2, 3, 14}, 5, false},
		"told late":              {[]int{0, 14, 2, 3, 1}, -1, true},
		"not for half a year":    {[]int{0, 1, 2, 3, 200}, -1, false},
		"and then for long":      {[]int{0, 200, 201, 202, 203, 214}, -1, true},
		"accepted before it all": {[]int{1, 2, 3, 4, 15}, 0, true},
	}
	for name, c := range cases {
		var f campaign.Fullness
		for _, n := range c.days {
			accepted := time.Time{}
			if c.accepted >= 0 && c.accepted < n {
				accepted = day(c.accepted)
			}
			f = f.Refused(day(n), accepted)
		}
		if f.Lasting() != c.want {
			t.Errorf("%s: got %v, want %v", name, f.Lasting(), c.want)
		}
	}
}
