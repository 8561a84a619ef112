// Package v1alpha1 is version v1alpha1 of the API group mail.cartero.dev. Its one kind, EmailCampaign, declares an e-mail
// campaign that runs once, to completion. Every rule that one object can break alone is in the schema, so that the API
// server refuses it at kubectl apply.
//
// +kubebuilder:object:generate=true
// +groupName=mail.cartero.dev
package v1alpha1
