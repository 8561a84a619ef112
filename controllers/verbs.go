package controllers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/types"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
)

// annotationPrefix begins the annotations that mean something to the operator.
const annotationPrefix = "mail.cartero.dev/"

// maxToken is the length of a token, in characters.
const maxToken = 128

// request is what one annotation asks for, once for each of its values.
type request struct {
	annotation string
	// answered is the value that the status tells as answered.
	answered func(*v1alpha1.EmailCampaignStatus) string
	// open reports whether the ledger does not know the value as answered.
	open func(campaign.Verbs, string) bool
	// check says what is wrong with the value or with asking; empty for nothing.
	check func(r *EmailCampaignReconciler, s *scope, value string) string
	// answer does what is asked.
	answer func(r *EmailCampaignReconciler, ctx context.Context, s *scope, value string) error
}

// requests are answered in this order.
var requests = []request{
	{
		annotation: v1alpha1.AnnotationResumeAt,
		answered:   func(status *v1alpha1.EmailCampaignStatus) string { return status.LastHandledResumeAt },
		open:       func(v campaign.Verbs, token string) bool { return v.ResumedAt != token },
		check:      func(_ *EmailCampaignReconciler, _ *scope, token string) string { return wrongToken(token) },
		answer:     (*EmailCampaignReconciler).resume,
	},
	{
		annotation: v1alpha1.AnnotationResolveInDoubt,
		answered:   func(status *v1alpha1.EmailCampaignStatus) string { return status.LastHandledResolveInDoubt },
		open:       func(v campaign.Verbs, value string) bool { return v.Resolved != value },
		check:      (*EmailCampaignReconciler).checkResolution,
		answer:     (*EmailCampaignReconciler).resolveDoubts,
	},
	{
		annotation: v1alpha1.AnnotationRetryFailedAt,
		answered:   func(status *v1alpha1.EmailCampaignStatus) string { return status.LastHandledRetryFailedAt },
		open:       func(v campaign.Verbs, token string) bool { return v.RetriedAt != token || !v.RetryDone },
		check:      (*EmailCampaignReconciler).checkRetry,
		answer:     (*EmailCampaignReconciler).retryFailed,
	},
	{
		annotation: v1alpha1.AnnotationTestSendAt,
		answered:   func(status *v1alpha1.EmailCampaignStatus) string { return status.LastHandledTestSendAt },
		open:       func(v campaign.Verbs, token string) bool { return v.TestedAt != token },
		check:      (*EmailCampaignReconciler).checkTest,
		answer:     (*EmailCampaignReconciler).testSend,
	},
}

// asked reports whether an annotation asks for something that the status does not tell as answered, and that was not
// refused.
func (r *EmailCampaignReconciler) asked(object *v1alpha1.EmailCampaign) bool {
	return slices.ContainsFunc(requests, func(q request) bool {
		value, there := object.Annotations[q.annotation]
		return there && (value == "" || value != q.answered(&object.Status)) && !r.refused.knows(object.UID, q.annotation, value)
	})
}

// answerVerbs does what the annotations ask for, each value once: the ledger remembers it with what is done.
func (r *EmailCampaignReconciler) answerVerbs(ctx context.Context, s *scope) error {
	if !s.sealed() {
		return nil
	}
	if !s.owner {
		if r.asked(s.object) { // it may become the owner
			s.wake(s.now.Add(idleInterval))
		}
		return nil
	}
	for _, q := range requests {
		value, there := s.object.Annotations[q.annotation]
		if !there || value != "" && !q.open(s.record.Verbs, value) {
			continue
		}
		if problem := q.check(r, s, value); problem != "" {
			if r.refused.note(s.object.UID, q.annotation, value) {
				s.verbErrors = append(s.verbErrors, &verbError{annotation: q.annotation, value: value, message: problem})
			}
			continue
		}
		if err := q.answer(r, ctx, s, value); err != nil {
			return r.databaseError(err)
		}
		if err := r.lookUp(ctx, s); err != nil || s.record == nil {
			return err
		}
	}
	return nil
}

// wrongToken says what is wrong with a token.
func wrongToken(token string) string {
	switch {
	case token == "":
		return "its value is empty; write a token, such as the time"
	case utf8.RuneCountInString(token) > maxToken:
		return "its value is longer than 128 characters; write a token, such as the time"
	case !utf8.ValidString(token) || strings.ContainsFunc(token, func(c rune) bool { return !unicode.IsPrint(c) }):
		return "its value has characters that can't be shown; write a token, such as the time"
	default:
		return ""
	}
}

func (r *EmailCampaignReconciler) resume(ctx context.Context, s *scope, token string) error {
	return r.Ledger.Resume(ctx, s.key, token)
}

// resolutions are the states that doubts are resolved to.
var resolutions = map[v1alpha1.Resolution]campaign.State{
	v1alpha1.ResolutionSent:   campaign.StateAccepted,
	v1alpha1.ResolutionFailed: campaign.StateFailed,
	v1alpha1.ResolutionResend: campaign.StatePending,
}

func (r *EmailCampaignReconciler) checkResolution(s *scope, value string) string {
	word, token, found := strings.Cut(value, "@")
	state, known := resolutions[v1alpha1.Resolution(word)]
	switch {
	case !found || !known:
		return "its value must be Sent@<token>, Failed@<token> or Resend@<token>"
	case state == campaign.StatePending && s.record.CancelledAt != nil:
		return "the campaign was cancelled, so nobody is mailed again; Sent@<token> or Failed@<token> ends the doubts"
	default:
		return wrongToken(token)
	}
}

func (r *EmailCampaignReconciler) resolveDoubts(ctx context.Context, s *scope, value string) error {
	word, _, _ := strings.Cut(value, "@")
	state := resolutions[v1alpha1.Resolution(word)]
	if state == campaign.StatePending {
		if err := r.startOver(ctx, s); err != nil {
			return err
		}
	}
	_, err := r.Ledger.ResolveInDoubt(ctx, s.key, campaign.Resolution{Token: value, State: state, Now: s.now})
	return err
}

var category = regexp.MustCompile(`^[A-Za-z0-9]{1,32}$`)

const maxCategories = 50

// categories are those of the annotation retry-categories; nil for all.
func categories(s *scope) (of []string, problem string) {
	text, there := s.object.Annotations[v1alpha1.AnnotationRetryCategories]
	if !there {
		return nil, ""
	}
	of = strings.Split(text, ",")
	for i := range of {
		of[i] = strings.TrimSpace(of[i])
		if !category.MatchString(of[i]) || len(of) > maxCategories {
			return nil, "the annotation " + v1alpha1.AnnotationRetryCategories +
				" must be categories of status.failures, such as MailboxFull, separated by commas"
		}
	}
	return of, ""
}

func (r *EmailCampaignReconciler) checkRetry(s *scope, token string) string {
	if s.record.CancelledAt != nil {
		return "the campaign was cancelled, so nobody is mailed again; apply a new one under another name or spec.campaignKey"
	}
	if _, problem := categories(s); problem != "" {
		return problem
	}
	return wrongToken(token)
}

func (r *EmailCampaignReconciler) retryFailed(ctx context.Context, s *scope, token string) error {
	if err := r.startOver(ctx, s); err != nil {
		return err
	}
	of, _ := categories(s)
	_, err := r.Ledger.RetryFailed(ctx, s.key, campaign.RetryRequest{Token: token, Categories: of, Now: s.now})
	return err
}

// startOver has the time of spec.activeDeadlineSeconds count anew where a campaign that had ended is taken up again.
func (r *EmailCampaignReconciler) startOver(ctx context.Context, s *scope) error {
	if s.before.Status.TerminalState == "" || s.record.StartedAt == nil || s.object.Spec.ActiveDeadlineSeconds == nil {
		return nil
	}
	s.idle = s.schedule.OpenBetween(*s.record.StartedAt, s.now).Truncate(time.Millisecond)
	s.record.Idle = s.idle
	s.planOpenings()
	s.planDeadline()
	return r.steerTo(ctx, s, campaign.Steered{Control: s.control, Idle: s.idle, Now: s.now})
}

func (r *EmailCampaignReconciler) checkTest(_ *scope, token string) string {
	if len(r.TestRecipients) == 0 || r.Mailer == nil {
		return "the operator has nobody to send tests to (TEST_RECIPIENTS)"
	}
	return wrongToken(token)
}

// testSend queues the message as it is now for TestRecipients, who have variables made up for them.
func (r *EmailCampaignReconciler) testSend(ctx context.Context, s *scope, token string) error {
	if err := r.resolveMessage(ctx, s); err != nil {
		if asStalled(err) == nil {
			return err
		}
		if r.refused.note(s.object.UID, v1alpha1.AnnotationTestSendAt, token) {
			s.verbErrors = append(s.verbErrors, &verbError{
				annotation: v1alpha1.AnnotationTestSendAt, value: token, message: "the message can't be read any more: " + err.Error(),
			})
		}
		return nil
	}
	content := s.content
	content.Subject = "[Test] " + content.Subject
	content.Suppress = false
	recipients := make([]campaign.Recipient, len(r.TestRecipients))
	for i, address := range r.TestRecipients {
		recipients[i] = campaign.Recipient{Address: address, Variables: s.testVariables()}
	}
	err := r.Mailer.Enqueue(ctx, campaign.Submission{
		Key: testKey(s.key, token), Content: content, Recipients: recipients, Priority: 1, CreatedAt: s.now,
	})
	if err != nil {
		return fmt.Errorf("queueing test mails: %w", err)
	}
	return r.Ledger.NoteTest(ctx, s.key, token)
}

// testVariables has each variable of the message stand for itself: nobody's data go to testers.
func (s *scope) testVariables() map[string]string {
	var variables map[string]string
	set := func(name, value string) {
		if variables == nil {
			variables = map[string]string{}
		}
		variables[name] = value
	}
	for _, variable := range s.template.Program().Variables() {
		if !variable.BuiltIn || variable.Name == "name" {
			set(variable.Name, variable.Name)
		}
	}
	if name := s.content.Unsubscribe.URLVariable; name != "" {
		set(name, sampleURL)
	}
	return variables
}

// testKey is the key of the test mails that a token asks for. No campaign has it: their keys have no colon.
func testKey(key, token string) string {
	const shown = 250 // of 320 that the column takes
	sum := sha256.Sum256([]byte(key + "\x00" + token))
	return "test:" + key[:min(len(key), shown)] + ":" + hex.EncodeToString(sum[:16])
}

// refusals remembers the values of annotations that were refused, so that each is told once. Its zero value is ready.
type refusals struct {
	mu     sync.Mutex
	values map[refusal]string
}

type refusal struct {
	object     types.UID
	annotation string
}

// maxRefusals bounds the memory; beyond it something may be told twice.
const maxRefusals = 10_000

func (r *refusals) knows(object types.UID, annotation, value string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, there := r.values[refusal{object, annotation}]
	return there && known == value
}

// note reports whether the value is news.
func (r *refusals) note(object types.UID, annotation, value string) bool {
	if r.knows(object, annotation, value) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.values == nil || len(r.values) >= maxRefusals {
		r.values = map[refusal]string{}
	}
	r.values[refusal{object, annotation}] = value
	return true
}

// Mailer takes single mails.
type Mailer interface {
	// Enqueue writes the mail and puts its job into the queue. One whose key is known was written before: it is no error.
	Enqueue(ctx context.Context, mail campaign.Submission) error
}
