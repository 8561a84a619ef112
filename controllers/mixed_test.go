package controllers

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/kubetest"
	"github.com/cartero-mail/cartero/internal/mail"
)

// steered has all that a Node worker does not go by.
func steered(c *v1alpha1.EmailCampaign) {
	c.Spec.Schedule = &v1alpha1.Schedule{Windows: []v1alpha1.Window{{Start: "08:00", End: "18:00"}}}
	c.Spec.Throttle = &v1alpha1.Throttle{}
	c.Spec.Retry = &v1alpha1.Retry{}
	c.Spec.FailurePolicy = &v1alpha1.FailurePolicy{}
}

func TestWhatNodeWorkersCanNotMailIsRefused(t *testing.T) {
	t.Parallel()
	from := mail.Address{Name: "News", Address: "news@example.com"}
	plain := campaign.Content{From: from, Subject: "Hola", HTML: "<p>Hola</p>"}
	for _, tc := range []struct {
		name   string
		mixed  bool
		mutate func(*campaign.Content)
		spec   func(*v1alpha1.EmailCampaign)
		want   []string
	}{
		{"what they can", true, func(*campaign.Content) {}, startingAt(now), nil},
		{"everything, where none is there", false, func(c *campaign.Content) { c.Text = "Hola" }, steered, nil},
		{"how it is sent", true, func(*campaign.Content) {}, steered, []string{
			"spec.schedule.windows", "spec.throttle", "spec.retry", "spec.failurePolicy",
		}},
		{
			"all of what is in it", true, func(c *campaign.Content) {
				*c = campaign.Content{
					From: mail.Address{Address: "other@example.com"}, ReplyTo: []string{"a@example.com"},
					Headers: map[string]string{"X-A": "1"}, Text: "Hola", Subject: strings.Repeat("ñ", 192),
					Mustache: true, AutoSubmitted: true, ListID: "news.example.com",
				}
			},
			func(*v1alpha1.EmailCampaign) {},
			[]string{
				"spec.message.from (other than SMTP_FROM)", "spec.message.replyTo", "spec.message.headers",
				"spec.message.text", "all of spec.message.subject (191 characters)",
				"the variables of spec.message.engine Mustache", "the Auto-Submitted field of spec.category Transactional", "spec.unsubscribe",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newScope(kubetest.NewCampaign("growth", "launch").With(tc.spec).Obj(), now)
			s.content = plain
			tc.mutate(&s.content)
			r := &EmailCampaignReconciler{DefaultFrom: from, MixedWorkers: tc.mixed}
			if diff := cmp.Diff(tc.want, r.beyondNodeWorkers(s)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
