package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/compose"
	"github.com/cartero-mail/cartero/internal/recipients"
	"github.com/cartero-mail/cartero/internal/render"
)

// maxBody is the size of a body in a ConfigMap or Secret, in bytes, as in the API.
const maxBody = 128 << 10

// acceptMessage sets s.content, as far as the object itself holds it.
func (r *EmailCampaignReconciler) acceptMessage(s *scope) error {
	message := s.object.Spec.Message
	from, err := r.sender(s)
	if err != nil {
		return err
	}
	replyTo := make([]string, len(message.ReplyTo))
	for i, written := range message.ReplyTo {
		if replyTo[i], err = recipients.ParseAddress(written); err != nil {
			return invalidSpec("spec.message.replyTo[%d] can't be used: %w", i, err)
		}
	}
	s.content = campaign.Content{
		From:          from,
		ReplyTo:       replyTo,
		Subject:       message.Subject,
		Text:          message.Text,
		HTML:          message.HTML,
		Headers:       message.Headers,
		Mustache:      message.Engine == v1alpha1.EngineMustache,
		DeriveText:    !r.MixedWorkers && message.Text == "" && message.TextFrom == nil,
		AutoSubmitted: s.object.Spec.Category == v1alpha1.CategoryTransactional,
		Suppress:      s.object.Spec.Suppression != v1alpha1.SuppressionIgnore,
	}
	if err := r.acceptUnsubscribe(s); err != nil {
		return err
	}
	if gaps := r.beyondNodeWorkers(s); len(gaps) > 0 {
		return invalidSpec("Node workers share the queue (QUEUE_WORKERS=mixed, or QUEUE_DIALECT=bullmq) and would mail this campaign without %s: "+
			"do without, or let Cartero's workers have the queue (QUEUE_WORKERS=cartero, QUEUE_DIALECT=bull)", strings.Join(gaps, ", "))
	}
	return nil
}

// sender is who the mails are from. It sets s.defaultSender.
func (r *EmailCampaignReconciler) sender(s *scope) (mail.Address, error) {
	written, from := s.object.Spec.Message.From, r.DefaultFrom
	s.defaultSender = written == nil
	if !s.defaultSender {
		from = mail.Address{Name: written.Name, Address: written.Address}
	}
	if from.Address == "" {
		if s.sealed() { // what is sealed has its sender
			return from, nil
		}
		return from, invalidSpec("spec.message.from is required: the operator has no default sender (SMTP_FROM)")
	}
	address, err := recipients.ParseAddress(from.Address)
	if err != nil {
		return from, invalidSpec("spec.message.from.address can't be used as a sender: %w", err)
	}
	from.Address = address
	return from, nil
}

// acceptUnsubscribe sets how recipients unsubscribe, and s.defaultUnsubscribe.
func (r *EmailCampaignReconciler) acceptUnsubscribe(s *scope) error {
	spec := s.object.Spec.Unsubscribe
	if spec == nil {
		s.defaultUnsubscribe = true
		s.content.Unsubscribe.Managed = r.ManagedUnsubscribe && !r.MixedWorkers && s.object.Spec.Category != v1alpha1.CategoryTransactional
		return nil
	}
	s.content.ListID = spec.ListID
	switch spec.Mode {
	case v1alpha1.UnsubscribeNone:
	case v1alpha1.UnsubscribeExternal:
		s.content.Unsubscribe = campaign.Unsubscribe{URLVariable: spec.URLVariable, Mailto: spec.Mailto}
	default:
		if !r.ManagedUnsubscribe {
			return invalidSpec("spec.unsubscribe.mode Managed needs an address that recipients reach: set UNSUBSCRIBE_URL and UNSUBSCRIBE_KEY " +
				"of operator, workers and facade, or use mode External")
		}
		s.content.Unsubscribe = campaign.Unsubscribe{Managed: true, Mailto: spec.Mailto}
	}
	return nil
}

// beyondNodeWorkers names what of the campaign a Node worker can't mail: it knows a job's subject and HTML body, and a
// sender of its own.
func (r *EmailCampaignReconciler) beyondNodeWorkers(s *scope) []string {
	if !r.MixedWorkers {
		return nil
	}
	content, spec, message := s.content, s.object.Spec, s.object.Spec.Message
	var gaps []string
	for _, gap := range []struct {
		found bool
		what  string
	}{
		{content.From != r.DefaultFrom, "spec.message.from (other than SMTP_FROM)"},
		{len(content.ReplyTo) > 0, "spec.message.replyTo"},
		{len(content.Headers) > 0, "spec.message.headers"},
		{content.Text != "" || message.TextFrom != nil, "spec.message.text"},
		{utf8.RuneCountInString(content.Subject) > legacySubject, "all of spec.message.subject (191 characters)"},
		{content.Mustache, "the variables of spec.message.engine Mustache"},
		{len(message.Attachments) > 0, "spec.message.attachments"},
		{content.AutoSubmitted, "the Auto-Submitted field of spec.category Transactional"},
		{content.ListID != "" || content.Unsubscribe != campaign.Unsubscribe{}, "spec.unsubscribe"},
		{spec.Schedule != nil && len(spec.Schedule.Windows) > 0, "spec.schedule.windows"},
		{spec.Throttle != nil, "spec.throttle"},
		{spec.Retry != nil, "spec.retry"},
		{spec.FailurePolicy != nil, "spec.failurePolicy"},
	} {
		if gap.found {
			gaps = append(gaps, gap.what)
		}
	}
	return gaps
}

// resolveMessage reads what of the message is elsewhere, and compiles it. It completes s.content and sets s.template.
func (r *EmailCampaignReconciler) resolveMessage(ctx context.Context, s *scope) error {
	if s.template != nil {
		return nil
	}
	message := s.object.Spec.Message
	for _, body := range []struct {
		path string
		from *v1alpha1.BodySource
		into *string
	}{
		{"spec.message.textFrom", message.TextFrom, &s.content.Text},
		{"spec.message.htmlFrom", message.HTMLFrom, &s.content.HTML},
	} {
		if body.from == nil {
			continue
		}
		text, err := r.readBody(ctx, s, body.path, *body.from)
		if err != nil {
			return err
		}
		*body.into = text
	}
	s.content.DeriveText = s.content.DeriveText && s.content.HTML != ""
	var err error
	if s.content.Attachments, err = r.readAttachments(ctx, s); err != nil {
		return err
	}
	return s.compile()
}

// readBody reads a body from a ConfigMap or Secret.
func (r *EmailCampaignReconciler) readBody(ctx context.Context, s *scope, path string, from v1alpha1.BodySource) (string, error) {
	ref, found := referTo(path, from.ConfigMapKeyRef, from.SecretKeyRef)
	if !found { // the schema wants exactly one
		return "", invalidSpec("%s needs one of configMapKeyRef and secretKeyRef", path)
	}
	data, err := r.read(ctx, s.object.Namespace, ref)
	if err != nil {
		return "", err
	}
	var problem string
	switch {
	case len(data) == 0:
		problem = "is empty"
	case len(data) > maxBody:
		problem = fmt.Sprintf("has %d bytes, and a body has at most %d", len(data), maxBody)
	case !utf8.Valid(data):
		problem = "is not text in UTF-8"
	default:
		return string(data), nil
	}
	return "", &stalledError{reason: v1alpha1.ReasonInvalidSpec, recheckAfter: recheckSource, err: fmt.Errorf(
		"the key %q of %s %s", ref.key, ref, problem)}
}

// compile makes s.template of s.content. Whoever has no sender of its own is checked with one that fits.
func (s *scope) compile() error {
	content := s.content.Mail()
	if content.From.Address == "" {
		content.From.Address = "sender@example.com"
	}
	template, err := compose.NewTemplate(content)
	if err != nil {
		return &stalledError{
			reason: composeReason(err), recheckAfter: recheckMessage(s.object),
			err: fmt.Errorf("the message can't be sent as it is: %w", err),
		}
	}
	s.template = template
	return nil
}

// composeReason tells a template that is at fault from a message that is.
func composeReason(err error) string {
	if invalid, ok := errors.AsType[*compose.InvalidError](err); ok && invalid.Err == nil {
		return v1alpha1.ReasonInvalidSpec
	}
	return v1alpha1.ReasonInvalidTemplate
}

// sampleURL stands for a recipient's address for unsubscribing: a token is not known before the list is written.
const sampleURL = "https://unsubscribe.example.com/0123456789abcdefghijklmnopqrstuvwxyz0123456789"

// mailTo is what the template is checked with for a recipient, but for Message-ID and date.
func (s *scope) mailTo(recipient campaign.Recipient) compose.Recipient {
	to := compose.Recipient{Address: recipient.Address, Name: recipient.Name, Variables: recipient.Variables}
	unsubscribe := s.content.Unsubscribe
	switch {
	case unsubscribe.Managed:
		to.UnsubscribeURL = sampleURL
	case unsubscribe.URLVariable != "":
		to.UnsubscribeURL = strings.TrimSpace(recipient.Variables[unsubscribe.URLVariable])
	}
	to.UnsubscribeMailto = unsubscribe.MailtoURI()
	return to
}

// checkRecipient says what of the message can't be made for a recipient. An address or name that can't be written is that
// recipient's own matter: it fails alone.
func (s *scope) checkRecipient(recipient campaign.Recipient) error {
	to := s.mailTo(recipient)
	if name := s.content.Unsubscribe.URLVariable; name != "" && to.UnsubscribeURL == "" {
		return fmt.Errorf("the variable %q (spec.unsubscribe.urlVariable) is missing", name)
	}
	err := s.template.Check(to)
	if invalid, ok := errors.AsType[*compose.InvalidError](err); ok && invalid.Field == "To" {
		return nil
	}
	if missing, ok := errors.AsType[*render.MissingError](err); ok && missing.Variable == "unsubscribeURL" {
		return &compose.InvalidError{Field: missing.Field, Err: noLinkError{missing}}
	}
	return err
}

// noLinkError is a template that names unsubscribeURL where recipients have none.
type noLinkError struct{ missing *render.MissingError }

func (e noLinkError) Error() string {
	return fmt.Sprintf("%s: line %d, column %d: there is no unsubscribeURL: have the operator set UNSUBSCRIBE_URL, or name a variable of the "+
		"list that holds one in spec.unsubscribe.urlVariable", e.missing.Field, e.missing.Line, e.missing.Column)
}

func (e noLinkError) Unwrap() error { return e.missing }

// templateError is a recipient that the message can't be made for. It holds no value and no address.
type templateError struct {
	// line is that of the list.
	line int
	err  error
}

func (e *templateError) Error() string { return e.err.Error() }
func (e *templateError) Unwrap() error { return e.err }
