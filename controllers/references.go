package controllers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
)

// reference is a key of a ConfigMap or Secret of the campaign's namespace.
type reference struct {
	// path is where in the manifest it is, such as spec.recipients.configMapKeyRef.
	path string
	// secret tells a Secret from a ConfigMap.
	secret    bool
	name, key string
}

// referTo returns the reference of the two that is set, below path; false if neither is.
func referTo(path string, configMap *v1alpha1.ConfigMapKeyReference, secret *v1alpha1.SecretKeyReference) (reference, bool) {
	switch {
	case configMap != nil:
		return reference{path: path + ".configMapKeyRef", name: configMap.Name, key: configMap.Key}, true
	case secret != nil:
		return reference{path: path + ".secretKeyRef", secret: true, name: secret.Name, key: secret.Key}, true
	default:
		return reference{}, false
	}
}

func (f reference) kind() string {
	if f.secret {
		return "Secret"
	}
	return "ConfigMap"
}

// String names the object with the path that the user wrote.
func (f reference) String() string { return fmt.Sprintf("%s %q (%s)", f.kind(), f.name, f.path) }

// read returns the bytes under the key. Both kinds hold at most 1 MiB.
func (r *EmailCampaignReconciler) read(ctx context.Context, namespace string, from reference) ([]byte, error) {
	key := client.ObjectKey{Namespace: namespace, Name: from.name}
	if from.secret {
		secret := &corev1.Secret{}
		if err := r.Reader.Get(ctx, key, secret); err != nil {
			return nil, from.unreadable(err, namespace, v1alpha1.ReasonSecretNotFound)
		}
		if data, ok := secret.Data[from.key]; ok {
			return data, nil
		}
		return nil, from.noKey()
	}
	configMap := &corev1.ConfigMap{}
	if err := r.Reader.Get(ctx, key, configMap); err != nil {
		return nil, from.unreadable(err, namespace, v1alpha1.ReasonConfigMapNotFound)
	}
	if text, ok := configMap.Data[from.key]; ok {
		return []byte(text), nil
	}
	if data, ok := configMap.BinaryData[from.key]; ok {
		return data, nil
	}
	return nil, from.noKey()
}

func (f reference) unreadable(err error, namespace, notFound string) error {
	if apierrors.IsNotFound(err) {
		return &stalledError{reason: notFound, recheckAfter: recheckSource, err: fmt.Errorf(
			"%s does not exist in namespace %q; create it, and the campaign goes on by itself", f, namespace)}
	}
	return fmt.Errorf("reading %s: %w", f, err)
}

func (f reference) noKey() error {
	return &stalledError{reason: v1alpha1.ReasonKeyNotFound, recheckAfter: recheckSource, err: fmt.Errorf(
		"%s has no key %q; add it, and the campaign goes on by itself", f, f.key)}
}
