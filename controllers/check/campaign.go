package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/controllers"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/compose"
	"github.com/cartero-mail/cartero/internal/manifest"
	"github.com/cartero-mail/cartero/internal/recipients"
	"github.com/cartero-mail/cartero/internal/render"
)

// urlPath is the field of a list on the web.
const urlPath = "spec.recipients.urlRef"

// standInSender is the sender of campaigns that leave it to the operator.
const standInSender = "sender@example.com"

// Schema checks an object as the API server does, and fills in its defaults.
type Schema interface {
	Apply(ctx context.Context, object map[string]any) []manifest.Problem
}

// Options say how campaigns are checked.
type Options struct {
	// Schema is the API server's part; nil leaves it out.
	Schema Schema
	// Fetcher gets what urlRef names; nil leaves that out.
	Fetcher controllers.Fetcher
	// List is the path of the list of campaigns whose list is not among the files; empty for none.
	List string
	// ShowAddresses has findings quote addresses and values.
	ShowAddresses bool
	// Now is the clock.
	Now time.Time
}

// subject is a campaign on its way through the checks.
type subject struct {
	options   Options
	set       *manifest.Set
	document  *manifest.Document
	object    *v1alpha1.EmailCampaign
	rehearsal *controllers.Rehearsal
	content   campaign.Content
	template  *compose.Template // nil where the message could not be made
	// withoutList, withoutBody tell that they are not among the files.
	withoutList, withoutBody bool
	// attachments are the places that the kept ones have in the manifest.
	attachments []int

	findings []Finding
	summary  Campaign
}

func newSubject(options Options, set *manifest.Set, document *manifest.Document) *subject {
	p := document.Position("")
	return &subject{options: options, set: set, document: document, summary: Campaign{
		File: p.File, Line: p.Line, Namespace: document.Namespace, Name: document.Name,
	}}
}

// report notes a finding at a field.
func (s *subject) report(severity Severity, rule, path, format string, args ...any) {
	s.findings = append(s.findings, at(s.document.Position(path), severity, rule, path, format, args...))
}

// admit does the API server's part, and reads the object. It returns false for one that can't be read on.
func (s *subject) admit(ctx context.Context) bool {
	object := runtime.DeepCopyJSON(s.document.Object)
	refused := false
	if s.options.Schema != nil {
		for _, problem := range s.options.Schema.Apply(ctx, object) {
			rule := RuleInvalidField
			if problem.Unknown {
				rule = RuleUnknownField
			}
			message := problem.Message
			if s.options.ShowAddresses && problem.Value != "" {
				message += fmt.Sprintf(" (it is %q)", problem.Value)
			}
			refused = refused || !problem.Unknown
			s.report(Error, rule, problem.Path, "%s", strings.TrimPrefix(message, problem.Path+" "))
		}
	}
	if refused {
		return false
	}
	text, err := json.Marshal(object)
	if err == nil {
		s.object = &v1alpha1.EmailCampaign{}
		err = json.Unmarshal(text, s.object)
	}
	if err != nil {
		s.report(Error, RuleInvalidField, "spec", "has a field of another type than it must be")
		return false
	}
	s.leaveOut()
	reconciler := &controllers.EmailCampaignReconciler{
		Reader: s.set, Fetcher: s.options.Fetcher, DefaultFrom: mail.Address{Address: standInSender}, ManagedUnsubscribe: true,
	}
	s.rehearsal = reconciler.Rehearse(s.object, s.options.Now)
	return true
}

// leaveOut takes out of the object what is not among the files, so that the rest can be checked.
func (s *subject) leaveOut() {
	message := &s.object.Spec.Message
	if s.missing("spec.message.textFrom", message.TextFrom) {
		message.TextFrom, s.withoutBody = nil, true
	}
	if s.missing("spec.message.htmlFrom", message.HTMLFrom) {
		message.HTMLFrom, s.withoutBody = nil, true
	}
	kept := make([]v1alpha1.Attachment, 0, len(message.Attachments))
	for i, a := range message.Attachments {
		if !s.absent(attachmentPath(i), a.ConfigMapKeyRef, a.SecretKeyRef, a.URLRef) {
			kept = append(kept, a)
			s.attachments = append(s.attachments, i)
		}
	}
	message.Attachments = kept
	if list := s.object.Spec.Recipients; s.options.List == "" {
		s.withoutList = s.absent("spec.recipients", list.ConfigMapKeyRef, list.SecretKeyRef, list.URLRef)
	}
}

func (s *subject) missing(path string, from *v1alpha1.BodySource) bool {
	return from != nil && s.absent(path, from.ConfigMapKeyRef, from.SecretKeyRef, nil)
}

// absent reports, also as a finding, whether what is referred to can't be read here.
func (s *subject) absent(
	path string, configMap *v1alpha1.ConfigMapKeyReference, secret *v1alpha1.SecretKeyReference, url *v1alpha1.URLReference,
) bool {
	var kind, name, help string
	if path == "spec.recipients" {
		help = ", or name the list with --list"
	}
	switch {
	case url != nil && s.options.Fetcher == nil:
		s.report(Warning, RuleNotChecked, path+".urlRef", "is not fetched, and was not checked: use --fetch%s", help)
		return true
	case configMap != nil:
		kind, name, path = manifest.KindConfigMap, configMap.Name, path+".configMapKeyRef"
	case secret != nil:
		kind, name, path = manifest.KindSecret, secret.Name, path+".secretKeyRef"
	default:
		return false
	}
	if s.set.Find(kind, s.object.Namespace, name) != nil {
		return false
	}
	s.report(Warning, RuleNotChecked, path+".name", "the %s %q is not among the files, and was not checked: give its file too%s", kind, name, help)
	return true
}

// accept does the controller's part, as far as the message goes. It sets content and template.
func (s *subject) accept(ctx context.Context) {
	problems := s.rehearsal.Accept()
	for _, err := range problems {
		s.fault(err)
	}
	message := s.object.Spec.Message
	bodiless := message.Text == "" && message.HTML == "" && message.TextFrom == nil && message.HTMLFrom == nil
	if s.withoutBody && bodiless || slices.ContainsFunc(problems, func(err error) bool { return strings.Contains(err.Error(), "spec.message.") }) {
		return
	}
	content, template, err := s.rehearsal.Resolve(ctx)
	s.content = content
	if err != nil {
		s.fault(err)
		return
	}
	s.template = template
}

// list opens the campaign's list; nil where there is none to read.
func (s *subject) list(ctx context.Context) (*recipients.List, func() error, error) {
	spec := s.object.Spec.Recipients
	elsewhere := s.set.Find(manifest.KindConfigMap, s.object.Namespace, refName(spec.ConfigMapKeyRef)) == nil &&
		s.set.Find(manifest.KindSecret, s.object.Namespace, secretName(spec.SecretKeyRef)) == nil
	if s.options.List == "" || spec.Inline != nil || !elsewhere {
		return s.rehearsal.OpenList(ctx)
	}
	file, err := os.Open(s.options.List)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the list: %w", err)
	}
	return recipients.New(file, recipients.Format(spec.Format)), file.Close, nil
}

func refName(ref *v1alpha1.ConfigMapKeyReference) string {
	if ref == nil {
		return ""
	}
	return ref.Name
}

func secretName(ref *v1alpha1.SecretKeyReference) string {
	if ref == nil {
		return ""
	}
	return ref.Name
}

// origin is where a reference of the manifest leads to, if to a key among the files.
func (s *subject) origin(configMap *v1alpha1.ConfigMapKeyReference, secret *v1alpha1.SecretKeyReference) (manifest.Source, bool) {
	var kind, name, key string
	switch {
	case configMap != nil:
		kind, name, key = manifest.KindConfigMap, configMap.Name, configMap.Key
	case secret != nil:
		kind, name, key = manifest.KindSecret, secret.Name, secret.Key
	default:
		return manifest.Source{}, false
	}
	b := s.set.Find(kind, s.object.Namespace, name)
	if b == nil {
		return manifest.Source{}, false
	}
	source, found := b.Sources[key]
	return source, found
}

// entry is where an entry of the list is, by the number that the list counts it with.
func (s *subject) entry(line int) (manifest.Position, string) {
	spec := s.object.Spec.Recipients
	if spec.Inline != nil {
		path := fmt.Sprintf("spec.recipients.inline[%d]", line-1)
		return s.document.Position(path), path
	}
	if source, found := s.origin(spec.ConfigMapKeyRef, spec.SecretKeyRef); found {
		return source.At(line, 1), "spec.recipients"
	}
	if s.options.List != "" {
		return manifest.Position{File: s.options.List, Line: line, Column: 1}, "spec.recipients"
	}
	return s.document.Position(urlPath), urlPath
}

// fields of a message and the paths that they are at.
func (s *subject) templatePath(field string) (string, *v1alpha1.BodySource) {
	message := s.object.Spec.Message
	if name, isHeader := strings.CutPrefix(field, "headers["); isHeader {
		return "spec.message.headers." + strings.TrimSuffix(name, "]"), nil
	}
	switch field {
	case "subject", "Subject":
		return "spec.message.subject", nil
	case "text":
		if message.TextFrom != nil {
			return "spec.message.textFrom", message.TextFrom
		}
		return "spec.message.text", nil
	case "html":
		if message.HTMLFrom != nil {
			return "spec.message.htmlFrom", message.HTMLFrom
		}
		return "spec.message.html", nil
	case "attachments":
		return "spec.message.attachments", nil
	case "From":
		return "spec.message.from", nil
	case "Reply-To":
		return "spec.message.replyTo", nil
	case "List-Id":
		return "spec.unsubscribe.listID", nil
	case "List-Unsubscribe":
		return "spec.unsubscribe", nil
	}
	if _, isHeader := message.Headers[field]; isHeader {
		return "spec.message.headers." + field, nil
	}
	return "spec.message", nil
}

// inTemplate is where a line and column of a template are.
func (s *subject) inTemplate(field string, line, column int) (manifest.Position, string) {
	path, from := s.templatePath(field)
	if from != nil {
		if source, found := s.origin(from.ConfigMapKeyRef, from.SecretKeyRef); found {
			return source.At(line, column), path
		}
		return s.document.Position(path), path
	}
	return s.document.InText(path, line, column), path
}

var namedPath = regexp.MustCompile(`\bspec(\.[A-Za-z][A-Za-z0-9]*|\[\d+\])+`)

// fault reports an error of the controller's part.
func (s *subject) fault(err error) {
	rule := controllers.StallReason(err)
	if rule == "" {
		rule = v1alpha1.ReasonInvalidSpec
	}
	if invalid, ok := errors.AsType[*compose.InvalidError](err); ok {
		p, path, message := s.place(invalid)
		s.findings = append(s.findings, at(p, Error, rule, path, "%s", message))
		return
	}
	message := err.Error()
	path := namedPath.FindString(message)
	if place := s.attachmentPlace(path); place != "" {
		message = strings.Replace(message, path, place, 1)
		path = place
	}
	message = strings.TrimPrefix(strings.TrimPrefix(message, path+": "), path+" ")
	s.report(Error, rule, path, "%s", strings.ReplaceAll(message, ", and the campaign goes on by itself", ""))
}

// attachmentPlace is the path that a path of an attachment has in the manifest; empty for other paths.
func (s *subject) attachmentPlace(path string) string {
	rest, found := strings.CutPrefix(path, "spec.message.attachments[")
	number, rest, closed := strings.Cut(rest, "]")
	i, err := strconv.Atoi(number)
	if !found || !closed || err != nil || i >= len(s.attachments) {
		return ""
	}
	return attachmentPath(s.attachments[i]) + rest
}

// place is where a message can't be made, and why, without what the place says already.
func (s *subject) place(invalid *compose.InvalidError) (manifest.Position, string, string) {
	var where render.Position
	if e, ok := errors.AsType[*render.SyntaxError](error(invalid)); ok {
		where = e.Position
	} else if e, ok := errors.AsType[*render.MissingError](error(invalid)); ok {
		where = e.Position
	} else if e, ok := errors.AsType[*render.ValueError](error(invalid)); ok {
		where = e.Position
	}
	if where.Line == 0 {
		path, _ := s.templatePath(invalid.Field)
		return s.document.Position(path), path, strings.TrimPrefix(invalid.Error(), invalid.Field+": ")
	}
	p, path := s.inTemplate(invalid.Field, where.Line, where.Column)
	return p, path, strings.TrimPrefix(invalid.Error(), fmt.Sprintf("%s: line %d, column %d: ", invalid.Field, where.Line, where.Column))
}

// isEnd reports whether a list has come to its end.
func isEnd(err error) bool { return errors.Is(err, io.EOF) }
