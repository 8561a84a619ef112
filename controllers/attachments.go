package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/fetch"
	"github.com/cartero-mail/cartero/internal/mail/compose"
)

// When a file that could not be fetched is asked for again: soon, where the server or the way to it was at fault.
const (
	refetchSoon  = time.Minute
	refetchLater = 5 * time.Minute
)

// Fetcher gets files from the web.
type Fetcher interface {
	// Get fetches a file. Errors are *fetch.Error where the request or the server is at fault.
	Get(ctx context.Context, request fetch.Request) (*fetch.File, error)
}

// readAttachments reads the files that come with every mail.
func (r *EmailCampaignReconciler) readAttachments(ctx context.Context, s *scope) ([]campaign.Attachment, error) {
	declared := s.object.Spec.Message.Attachments
	if len(declared) == 0 {
		return nil, nil
	}
	attachments := make([]campaign.Attachment, len(declared))
	left := compose.MaxAttachments
	for i, attachment := range declared {
		path := fmt.Sprintf("spec.message.attachments[%d]", i)
		data, err := r.readAttachment(ctx, s, path, attachment, int64(left))
		if err != nil {
			return nil, err
		}
		if left -= len(data); left < 0 {
			return nil, oversized(s, path, attachment.Name)
		}
		attachments[i] = campaign.Attachment{
			Name: attachment.Name, ContentType: attachment.ContentType, ContentID: attachment.ContentID, Data: data,
		}
	}
	return attachments, nil
}

// oversized says that the attachments are too large together, from this one on.
func oversized(s *scope, path, name string) error {
	return &stalledError{reason: v1alpha1.ReasonInvalidSpec, recheckAfter: recheckMessage(s.object), err: fmt.Errorf(
		"spec.message.attachments are more than %d bytes together, from %s (%q) on: link to the files instead",
		compose.MaxAttachments, path, name)}
}

// readAttachment reads one file; one from the web has at most limit bytes.
func (r *EmailCampaignReconciler) readAttachment(
	ctx context.Context, s *scope, path string, attachment v1alpha1.Attachment, limit int64,
) ([]byte, error) {
	if ref, found := referTo(path, attachment.ConfigMapKeyRef, attachment.SecretKeyRef); found {
		return r.read(ctx, s.object.Namespace, ref)
	}
	if attachment.URLRef == nil { // the schema wants exactly one source
		return nil, invalidSpec("%s needs one of configMapKeyRef, secretKeyRef and urlRef", path)
	}
	file, err := r.fetch(ctx, path+".urlRef", fetch.Request{
		URL: attachment.URLRef.URL, SHA256: attachment.URLRef.SHA256, MaxBytes: max(limit, 1),
	})
	if refused, ok := errors.AsType[*fetch.Error](err); ok && refused.Reason == fetch.ReasonTooLarge {
		return nil, oversized(s, path, attachment.Name)
	}
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(file.Open(), limit+1))
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return data, nil
}

// fetch gets a file for the field path.
func (r *EmailCampaignReconciler) fetch(ctx context.Context, path string, request fetch.Request) (*fetch.File, error) {
	if r.Fetcher == nil {
		return nil, invalidSpec("%s can't be used: the operator fetches nothing", path)
	}
	file, err := r.Fetcher.Get(ctx, request)
	refused, isRefused := errors.AsType[*fetch.Error](err)
	switch {
	case err == nil:
		return file, nil
	case isRefused && refused.Temporary:
		return nil, &stalledError{reason: v1alpha1.ReasonFetchFailed, recheckAfter: refetchSoon, err: fmt.Errorf(
			"%s could not be fetched, and is tried again: %w", path, refused)}
	case isRefused:
		return nil, &stalledError{reason: v1alpha1.ReasonFetchFailed, recheckAfter: refetchLater, err: fmt.Errorf(
			"%s can't be fetched: %w", path, refused)}
	default:
		return nil, fmt.Errorf("fetching %s: %w", path, err)
	}
}

// recheckMessage is when a message that was read and is not in order is looked at again: one that is whole in the object
// changes only with it.
func recheckMessage(object *v1alpha1.EmailCampaign) time.Duration {
	message := object.Spec.Message
	recheck := time.Duration(0)
	if message.TextFrom != nil || message.HTMLFrom != nil {
		recheck = recheckSource
	}
	for _, attachment := range message.Attachments {
		if attachment.URLRef != nil {
			return refetchLater
		}
		recheck = recheckSource
	}
	return recheck
}
