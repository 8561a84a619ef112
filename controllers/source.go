package controllers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/fetch"
	"github.com/cartero-mail/cartero/internal/recipients"
)

// source is a list as it was read at one moment.
type source struct {
	// hash identifies the bytes and the format.
	hash string
	// open returns the list from its beginning.
	open func() *recipients.List
	// close gives back what the list takes; nil for nothing.
	close func() error
}

// Close gives back what the list takes. It can't be read any more.
func (s source) Close() error {
	if s.close == nil {
		return nil
	}
	return s.close()
}

// openSource reads the list that spec.recipients names. A ConfigMap or Secret is at most 1 MiB, so it is read as a whole;
// a file from the web goes to the disk first.
func (r *EmailCampaignReconciler) openSource(ctx context.Context, object *v1alpha1.EmailCampaign) (source, error) {
	spec := object.Spec.Recipients
	format := recipients.Format(spec.Format)
	switch {
	case spec.Inline != nil:
		return inlineSource(spec.Inline), nil
	case spec.URLRef != nil:
		file, err := r.fetch(ctx, "spec.recipients.urlRef", fetch.Request{URL: spec.URLRef.URL, SHA256: spec.URLRef.SHA256, Gunzip: true})
		if err != nil {
			return source{}, err
		}
		return source{
			hash:  hashOf([]byte(spec.Format), []byte("sha256"), []byte(file.ContentSHA256())),
			open:  func() *recipients.List { return recipients.New(file.Open(), format) },
			close: file.Close,
		}, nil
	}
	ref, found := referTo("spec.recipients", spec.ConfigMapKeyRef, spec.SecretKeyRef)
	if !found { // the schema wants exactly one source
		return source{}, invalidSpec("spec.recipients needs one of inline, configMapKeyRef, secretKeyRef and urlRef")
	}
	data, err := r.read(ctx, object.Namespace, ref)
	if err != nil {
		return source{}, err
	}
	return source{
		hash: hashOf([]byte(spec.Format), data),
		open: func() *recipients.List { return recipients.New(bytes.NewReader(data), format) },
	}, nil
}

func inlineSource(inline []v1alpha1.InlineRecipient) source {
	entries := make([]recipients.Entry, len(inline))
	for i, entry := range inline {
		entries[i] = recipients.Entry{Address: entry.Address, Name: entry.Name, Variables: entry.Variables}
	}
	data, err := json.Marshal(inline)
	if err != nil { // strings and maps of strings always marshal
		panic(fmt.Sprintf("marshalling spec.recipients.inline: %v", err))
	}
	return source{
		hash: hashOf([]byte("inline"), data),
		open: func() *recipients.List { return recipients.Inline(entries) },
	}
}

// sourceName names the list's source with the path that the user wrote. Of a URL it has the host: the rest may be a secret.
func sourceName(object *v1alpha1.EmailCampaign) string {
	spec := object.Spec.Recipients
	if ref, found := referTo("spec.recipients", spec.ConfigMapKeyRef, spec.SecretKeyRef); found {
		return ref.String()
	}
	if spec.URLRef == nil {
		return "spec.recipients.inline"
	}
	host := ""
	if u, err := url.Parse(spec.URLRef.URL); err == nil {
		host = u.Hostname()
	}
	return fmt.Sprintf("the list at %s (spec.recipients.urlRef)", host)
}

// recheckOf is when a source that was read and is not in order is looked at again; an inline list changes only with
// the object.
func recheckOf(object *v1alpha1.EmailCampaign) time.Duration {
	switch spec := object.Spec.Recipients; {
	case spec.Inline != nil:
		return 0
	case spec.URLRef != nil:
		return refetchLater
	default:
		return recheckSource
	}
}

// check reads the whole list before the first row is written, so that one that breaks off leaves nothing behind. each is
// told every recipient; its error is wrapped in a *templateError.
func (s source) check(ctx context.Context, each func(campaign.Recipient) error) (campaign.Totals, error) {
	list := s.open()
	for {
		recipient, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			totals := list.Totals()
			totals.Recipients = list.Summary().Accepted
			return totals, nil
		}
		if err != nil {
			return campaign.Totals{}, err
		}
		if err := each(recipient); err != nil {
			return campaign.Totals{}, &templateError{line: list.Line(), err: err}
		}
	}
}

// snapshotHash is what status.contentHash shows: one hash over the message and the list.
func snapshotHash(record campaign.Record) string {
	return hashOf([]byte(record.ContentHash), []byte(record.ListHash))
}

// hashOf is SHA-256, in hex, over the parts and their lengths.
func hashOf(parts ...[]byte) string {
	sum := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(sum, "%d:", len(part))
		sum.Write(part)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
