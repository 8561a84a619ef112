package worker

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
	"github.com/cartero-mail/cartero/internal/mail/compose"
)

// errNoUnsubscribe: the campaign says that its mails have links of Cartero's own, and this worker can't make them.
var errNoUnsubscribe = errors.New("the campaign's mails have unsubscribe links, and this worker makes none: " +
	"set UNSUBSCRIBE_URL and UNSUBSCRIBE_KEY")

// maxKeptBuffer is the largest buffer that a deliverer keeps for its next mail.
const maxKeptBuffer = 1 << 20

// Composer makes the mails of one content. It is safe for concurrent use.
type Composer interface {
	// Append appends the mail to one recipient to dst.
	Append(dst []byte, to compose.Recipient) (compose.Mail, error)
}

// tailComposer makes mails whose end is the same, and can leave that off. *compose.Template is one.
type tailComposer interface {
	Composer
	Tail() mail.Tail
	AppendOwn(dst []byte, to compose.Recipient) (compose.Mail, error)
}

// compile is Config.Compile unless that is set.
func compile(content mail.Content) (Composer, error) { return compose.NewTemplate(content) }

// compose makes the mail in the buffer, but for its tail, which all mails of the job share where the Sender takes one. A
// panic is an error like another: it fails this recipient, never the worker.
func (w *Worker) compose(t task, buffer []byte) (m compose.Mail, tail mail.Tail, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("composing panicked: %s", panicText(p))
			w.cfg.Logger.Error("Composing a mail panicked", "jobID", t.run.job.ID, "panic", panicText(p), "stack", string(debug.Stack()))
		}
	}()
	composer, err := t.run.composer()
	if err != nil {
		return compose.Mail{}, tail, err
	}
	unsubscribe := t.run.job.Content.Unsubscribe
	to := compose.Recipient{
		Address:           t.recipient.Address,
		Name:              t.recipient.Name,
		Variables:         t.recipient.Variables,
		MessageID:         campaign.MessageID(t.run.job.ID, t.recipient.Address, t.run.from.Address),
		Date:              t.run.job.CreatedAt,
		UnsubscribeURL:    w.unsubscribeURL(unsubscribe, t.recipient),
		UnsubscribeMailto: unsubscribe.MailtoURI(),
	}
	if shares, ok := composer.(tailComposer); ok && w.tails != nil {
		m, err = shares.AppendOwn(buffer[:0], to)
		return m, shares.Tail(), err
	}
	m, err = composer.Append(buffer[:0], to)
	return m, tail, err
}

// unsubscribeURL is where the recipient unsubscribes; empty for nowhere.
func (w *Worker) unsubscribeURL(by campaign.Unsubscribe, recipient campaign.Claimed) string {
	switch {
	case by.Managed:
		return w.cfg.UnsubscribeURL(recipient.ID)
	case by.URLVariable != "":
		return strings.TrimSpace(recipient.Variables[by.URLVariable])
	default:
		return ""
	}
}

// compileContent compiles what all mails of the run have in common, once it is needed.
func (r *run) compileContent() (Composer, error) {
	content := r.job.Content.Mail()
	content.From = r.from
	return r.w.cfg.Compile(content)
}

// composeDetail says why a mail could not be made, unless the error may quote the mail.
func composeDetail(err error) string {
	if invalid, ok := errors.AsType[*compose.InvalidError](err); ok {
		return cutDetail("the mail could not be composed: " + invalid.Error())
	}
	return "the mail could not be composed"
}

// panicText says what a panic was about, unless that may quote a mail.
func panicText(p any) string {
	if err, ok := p.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("%T", p)
}
