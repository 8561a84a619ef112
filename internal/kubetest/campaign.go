package kubetest

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cartero-mail/cartero/api/v1alpha1"
)

// CampaignBuilder makes an EmailCampaign.
type CampaignBuilder struct {
	campaign v1alpha1.EmailCampaign
}

// NewCampaign starts a valid campaign: a text message from news@example.com to one inline recipient.
func NewCampaign(namespace, name string) *CampaignBuilder {
	return &CampaignBuilder{campaign: v1alpha1.EmailCampaign{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "EmailCampaign"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.EmailCampaignSpec{
			Message: v1alpha1.Message{
				From:    &v1alpha1.Mailbox{Address: "news@example.com"},
				Subject: "News",
				Text:    "There is news.",
			},
			Recipients: v1alpha1.RecipientSource{Inline: []v1alpha1.InlineRecipient{{Address: "ada@example.org"}}},
		},
	}}
}

// WithKey sets spec.campaignKey.
func (b *CampaignBuilder) WithKey(key string) *CampaignBuilder {
	b.campaign.Spec.CampaignKey = key
	return b
}

// WithSuspend sets spec.suspend.
func (b *CampaignBuilder) WithSuspend(suspend bool) *CampaignBuilder {
	b.campaign.Spec.Suspend = &suspend
	return b
}

// WithJobSize sets spec.jobSize.
func (b *CampaignBuilder) WithJobSize(size int32) *CampaignBuilder {
	b.campaign.Spec.JobSize = &size
	return b
}

// WithReadiness sets spec.readinessPolicy.
func (b *CampaignBuilder) WithReadiness(policy v1alpha1.ReadinessPolicy) *CampaignBuilder {
	b.campaign.Spec.ReadinessPolicy = policy
	return b
}

// WithMessage replaces spec.message.
func (b *CampaignBuilder) WithMessage(message v1alpha1.Message) *CampaignBuilder {
	b.campaign.Spec.Message = message
	return b
}

// WithSubject sets spec.message.subject.
func (b *CampaignBuilder) WithSubject(subject string) *CampaignBuilder {
	b.campaign.Spec.Message.Subject = subject
	return b
}

// WithInline makes an inline list of these addresses the source.
func (b *CampaignBuilder) WithInline(addresses ...string) *CampaignBuilder {
	recipients := make([]v1alpha1.InlineRecipient, 0, len(addresses))
	for _, address := range addresses {
		recipients = append(recipients, v1alpha1.InlineRecipient{Address: address})
	}
	return b.WithRecipients(v1alpha1.RecipientSource{Inline: recipients})
}

// WithConfigMap makes a key of a ConfigMap the source.
func (b *CampaignBuilder) WithConfigMap(name, key string, format v1alpha1.RecipientFormat) *CampaignBuilder {
	return b.WithRecipients(v1alpha1.RecipientSource{
		ConfigMapKeyRef: &v1alpha1.ConfigMapKeyReference{Name: name, Key: key}, Format: format,
	})
}

// WithSecret makes a key of a Secret the source.
func (b *CampaignBuilder) WithSecret(name, key string, format v1alpha1.RecipientFormat) *CampaignBuilder {
	return b.WithRecipients(v1alpha1.RecipientSource{
		SecretKeyRef: &v1alpha1.SecretKeyReference{Name: name, Key: key}, Format: format,
	})
}

// WithRecipients replaces spec.recipients.
func (b *CampaignBuilder) WithRecipients(source v1alpha1.RecipientSource) *CampaignBuilder {
	b.campaign.Spec.Recipients = source
	return b
}

// With changes the campaign in any other way.
func (b *CampaignBuilder) With(mutate func(*v1alpha1.EmailCampaign)) *CampaignBuilder {
	mutate(&b.campaign)
	return b
}

// Obj returns a copy of the campaign.
func (b *CampaignBuilder) Obj() *v1alpha1.EmailCampaign { return b.campaign.DeepCopy() }
