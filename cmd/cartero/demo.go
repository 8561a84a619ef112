//go:build !nodev

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/demo"
	"github.com/cartero-mail/cartero/internal/samples"
	"github.com/cartero-mail/cartero/internal/store"
)

// demoDirectory is where a demo begins from nothing, below the data directory.
const demoDirectory = "demo"

// samples applies the samples and shows their progress; a demo is then judged.
func (st *stack) samples(ctx context.Context, c cli, s *devSettings, db *store.Store) error {
	namespace := "default"
	if s.dev.demo { // a database that is not embedded remembers the campaigns of earlier demos
		namespace = "demo-" + time.Now().UTC().Format("20060102-150405")
	}
	kubectl := demo.Kubectl{Path: kubectlPath(s), Kubeconfig: st.plane.Kubeconfig, Out: c.stdout}
	if err := kubectl.Apply(ctx, s.dev.samplesDir, namespace); err != nil {
		return err
	}
	reader, err := campaignReader(st)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.stdout)
	campaigns, err := demo.Follow(ctx, reader, namespace, c.stdout, isTerminal(c.stdout))
	if err != nil {
		return err
	}
	took, err := sendingTime(ctx, db, campaigns)
	if err != nil {
		return err
	}
	demo.Summarize(campaigns, took).Write(c.stdout)
	if !s.dev.demo {
		fmt.Fprintf(c.stdout, "\nEnd with Ctrl-C.\n")
		return nil
	}
	return st.judge(ctx, c, s, db, campaigns)
}

// judge compares the inbox with the database, and says how to look at it.
func (st *stack) judge(ctx context.Context, c cli, s *devSettings, db *store.Store, campaigns []v1alpha1.EmailCampaign) error {
	if st.inbox == nil {
		fmt.Fprintln(c.stdout, "\nSMTP_SERVER names a relay of yours: there is no inbox to compare with.")
		return nil
	}
	senders := map[string]string{}
	for _, object := range campaigns {
		senders[object.Status.CampaignKey] = s.sender.Address().Address
		if object.Spec.Message.From != nil {
			senders[object.Status.CampaignKey] = object.Spec.Message.From.Address
		}
	}
	mails := map[string]int{}
	for _, message := range st.inbox.Messages() {
		mails[message.MessageID]++
	}
	result, err := demo.Compare(ctx, db, senders, mails)
	if err != nil {
		return err
	}
	if !result.Exact() {
		return fmt.Errorf("the inbox does not hold exactly the accepted mails: %d accepted, %d missing, %d twice, "+
			"%d unexpected, %d in doubt, %d not ended", result.Accepted, result.Missing, result.Twice, result.Unexpected,
			result.InDoubt, result.Open)
	}
	if err := asExpected(campaigns); err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "\nThe inbox holds exactly the %d accepted mails: nobody is missing, nobody got one twice.\n", result.Accepted)
	fmt.Fprintf(c.stdout, "Look at it: %s dev --data-dir %s, then %s\n", os.Args[0], st.directory.Path(), st.inbox.URL())
	return nil
}

// asExpected compares the campaigns that are samples of ours with what is known of their lists.
func asExpected(campaigns []v1alpha1.EmailCampaign) error {
	var errs []error
	for _, object := range campaigns {
		expected, ok := samples.Campaigns[object.Name]
		counts, list := object.Status.Recipients, object.Status.List
		if !ok || counts == nil || list == nil {
			continue
		}
		if counts.Accepted != expected.Delivered() || counts.Total != expected.Recipients() ||
			list.Duplicates != expected.Duplicates || list.Invalid != expected.Invalid {
			errs = append(errs, fmt.Errorf("campaign %s ended otherwise than its list should: %d of %d recipients accepted, "+
				"%d duplicates, %d invalid; expected %d of %d, %d, %d", object.Name, counts.Accepted, counts.Total,
				list.Duplicates, list.Invalid, expected.Delivered(), expected.Recipients(), expected.Duplicates, expected.Invalid))
		}
	}
	return errors.Join(errs...)
}

func campaignReader(st *stack) (client.Client, error) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("building the scheme: %w", err)
	}
	reader, err := client.New(st.plane.Config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("connecting to Kubernetes: %w", err)
	}
	return reader, nil
}

// sendingTime is from the first claim of any of the campaigns to the last result.
func sendingTime(ctx context.Context, db *store.Store, campaigns []v1alpha1.EmailCampaign) (time.Duration, error) {
	var from, to time.Time
	for _, object := range campaigns {
		record, err := db.Campaign(ctx, object.Status.CampaignKey)
		if err != nil {
			return 0, fmt.Errorf("reading a campaign's times: %w", err)
		}
		tally, err := db.Tally(ctx, object.Status.CampaignKey)
		if err != nil {
			return 0, fmt.Errorf("reading a campaign's times: %w", err)
		}
		if record.StartedAt == nil || tally.LastCompletedAt == nil {
			return 0, errors.New("a campaign has ended without a beginning or an end")
		}
		if from.IsZero() || record.StartedAt.Before(from) {
			from = *record.StartedAt
		}
		if tally.LastCompletedAt.After(to) {
			to = *tally.LastCompletedAt
		}
	}
	return to.Sub(from), nil
}

// isTerminal reports whether w is a character device.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

var _ demo.Recipients = (*store.Store)(nil)
