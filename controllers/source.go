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
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/recipients"
)

// source is a list as it was read at one moment.
type source struct {
	// hash identifies the bytes and the format.
	hash string
	// open returns the list from its beginning.
	open func() *recipients.List
}

// openSource reads the list that spec.recipients names. A ConfigMap or Secret is at most 1 MiB, so it is read as a whole.
func (r *EmailCampaignReconciler) openSource(ctx context.Context, object *v1alpha1.EmailCampaign) (source, error) {
	spec := object.Spec.Recipients
	if spec.Inline != nil {
		return inlineSource(spec.Inline), nil
	}
	data, err := r.readSource(ctx, object)
	if err != nil {
		return source{}, err
	}
	format := recipients.Format(spec.Format)
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

// readSource returns the bytes under the key of the ConfigMap or Secret.
func (r *EmailCampaignReconciler) readSource(ctx context.Context, object *v1alpha1.EmailCampaign) ([]byte, error) {
	if ref := object.Spec.Recipients.ConfigMapKeyRef; ref != nil {
		configMap := &corev1.ConfigMap{}
		key := client.ObjectKey{Namespace: object.Namespace, Name: ref.Name}
		if err := r.Reader.Get(ctx, key, configMap); err != nil {
			return nil, readError(err, object, v1alpha1.ReasonConfigMapNotFound)
		}
		if text, ok := configMap.Data[ref.Key]; ok {
			return []byte(text), nil
		}
		if data, ok := configMap.BinaryData[ref.Key]; ok {
			return data, nil
		}
		return nil, keyNotFound(object, ref.Key)
	}

	ref := object.Spec.Recipients.SecretKeyRef
	if ref == nil { // the schema wants exactly one source
		return nil, invalidSpec("spec.recipients needs one of inline, configMapKeyRef and secretKeyRef")
	}
	secret := &corev1.Secret{}
	if err := r.Reader.Get(ctx, client.ObjectKey{Namespace: object.Namespace, Name: ref.Name}, secret); err != nil {
		return nil, readError(err, object, v1alpha1.ReasonSecretNotFound)
	}
	if data, ok := secret.Data[ref.Key]; ok {
		return data, nil
	}
	return nil, keyNotFound(object, ref.Key)
}

func readError(err error, object *v1alpha1.EmailCampaign, notFound string) error {
	if apierrors.IsNotFound(err) {
		return &stalledError{reason: notFound, recheckAfter: recheckSource, err: fmt.Errorf(
			"%s does not exist in namespace %q; create it, and the campaign goes on by itself",
			sourceName(object), object.Namespace)}
	}
	return fmt.Errorf("reading %s: %w", sourceName(object), err)
}

func keyNotFound(object *v1alpha1.EmailCampaign, key string) error {
	return &stalledError{reason: v1alpha1.ReasonKeyNotFound, recheckAfter: recheckSource, err: fmt.Errorf(
		"%s has no key %q; add it, and the campaign goes on by itself", sourceName(object), key)}
}

// sourceName names the list's source with the path that the user wrote.
func sourceName(object *v1alpha1.EmailCampaign) string {
	switch spec := object.Spec.Recipients; {
	case spec.ConfigMapKeyRef != nil:
		return fmt.Sprintf("ConfigMap %q (spec.recipients.configMapKeyRef)", spec.ConfigMapKeyRef.Name)
	case spec.SecretKeyRef != nil:
		return fmt.Sprintf("Secret %q (spec.recipients.secretKeyRef)", spec.SecretKeyRef.Name)
	default:
		return "spec.recipients.inline"
	}
}

// recheckOf is when a source that was read and is not in order is looked at again; an inline list changes only with
// the object.
func recheckOf(object *v1alpha1.EmailCampaign) time.Duration {
	if object.Spec.Recipients.Inline != nil {
		return 0
	}
	return recheckSource
}

// check reads the whole list before the first row is written, so that one that breaks off leaves nothing behind.
func (s source) check(ctx context.Context) (campaign.Totals, error) {
	list := s.open()
	for {
		_, err := list.Next(ctx)
		if errors.Is(err, io.EOF) {
			totals := list.Totals()
			totals.Recipients = list.Summary().Accepted
			return totals, nil
		}
		if err != nil {
			return campaign.Totals{}, err
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
