//go:build !nodev

package main

import (
	"net/url"

	"github.com/cartero-mail/cartero/internal/devstack/inbox"
	"github.com/cartero-mail/cartero/internal/options"
)

// devOptions are the settings of what `cartero dev` embeds. It implements options.Area.
type devOptions struct {
	dataDir    string
	assets     string
	inboxHTTP  string
	inboxSMTP  string
	samples    bool
	demo       bool
	samplesDir string
}

func (o *devOptions) Bind(b *options.Binder) {
	b.Area("Development stack")
	b.String(&o.dataDir, options.Spec{
		Variable: "DATA_DIR", Default: ".cartero",
		Meaning: "directory of the embedded parts' data; it survives a restart",
	})
	b.String(&o.assets, options.Spec{
		Variable: "KUBEBUILDER_ASSETS", Default: "bin",
		Meaning: "directory of etcd, kube-apiserver and kubectl (make control-plane)",
	})
	b.String(&o.inboxHTTP, options.Spec{
		Variable: "INBOX_HTTP_ADDRESS", Default: inbox.DefaultHTTPAddr,
		Meaning: "address of the inbox's web page, on loopback",
	})
	b.String(&o.inboxSMTP, options.Spec{
		Variable: "INBOX_SMTP_ADDRESS", Default: inbox.DefaultSMTPAddr,
		Meaning: "address of the inbox's SMTP server, on loopback",
	})
	b.Bool(&o.samples, options.Spec{
		Variable: "SAMPLES", Default: "false",
		Meaning: "apply the samples at start and show their progress",
	})
	b.Bool(&o.demo, options.Spec{
		Variable: "DEMO", Default: "false",
		Meaning: "as SAMPLES; then compare the inbox with the database, and end",
	})
	b.String(&o.samplesDir, options.Spec{
		Variable: "SAMPLES_DIR", Default: "config/samples",
		Meaning: "the kustomization that SAMPLES and DEMO apply",
	})
}

func (o *devOptions) Validate() error { return nil }

// redactURL shows a URL without its password.
func redactURL(text string) string {
	parsed, err := url.Parse(text)
	if err != nil {
		return "(set)"
	}
	return parsed.Redacted()
}
