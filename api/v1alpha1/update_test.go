package v1alpha1_test

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/kubetest"
)

// start does what the operator does when the first recipient is taken up: it sets status.startTime.
func start(t *testing.T, cluster *kubetest.Cluster, campaign *v1alpha1.EmailCampaign) {
	t.Helper()
	campaign.Status.ObservedGeneration = campaign.Generation
	campaign.Status.StartTime = &metav1.Time{Time: campaign.CreationTimestamp.Time}
	if err := cluster.Client.Status().Update(t.Context(), campaign); err != nil {
		t.Fatalf("Setting status.startTime: %v", err)
	}
}

// end sets status.terminalState.
func end(t *testing.T, cluster *kubetest.Cluster, campaign *v1alpha1.EmailCampaign) {
	t.Helper()
	campaign.Status.TerminalState = v1alpha1.TerminalCompleted
	if err := cluster.Client.Status().Update(t.Context(), campaign); err != nil {
		t.Fatalf("Setting status.terminalState: %v", err)
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	const (
		another          = "apply a new campaign under another name or campaignKey"
		frozenMessage    = "spec.message is frozen since status.startTime; " + another
		frozenRecipients = "spec.recipients is frozen since status.startTime; " + another
		frozenJobSize    = "spec.jobSize is frozen since status.startTime; " + another
		frozenSuspend    = "spec.suspend is frozen since the campaign has ended (status.terminalState); " + another
		immutableKey     = "spec.campaignKey is immutable; " + "apply a new campaign under another name for another key"
	)
	var (
		subject = message(func(m *v1alpha1.Message) { m.Subject = "Other news" })
		html    = message(func(m *v1alpha1.Message) { m.HTML = "<p>Other news</p>" })
		sender  = message(func(m *v1alpha1.Message) { m.From = nil })
		header  = message(func(m *v1alpha1.Message) { m.Headers = map[string]string{"X-A": "b"} })
		list    = recipients(inlineList(2, 0))
		source  = recipients(v1alpha1.RecipientSource{SecretKeyRef: &v1alpha1.SecretKeyReference{Name: "a", Key: "b"}})
		format  = spec(func(s *v1alpha1.EmailCampaignSpec) { s.Recipients.Format = v1alpha1.FormatLines })
		suspend = spec(func(s *v1alpha1.EmailCampaignSpec) { s.Suspend = new(true) })
		ready   = spec(func(s *v1alpha1.EmailCampaignSpec) { s.ReadinessPolicy = v1alpha1.ReadinessCompleted })
		label   = func(c *v1alpha1.EmailCampaign) { c.Labels = map[string]string{"team": "growth"} }
	)
	const (
		fresh   = iota
		started // status.startTime is set
		ended   // status.terminalState too
	)
	cases := []struct {
		name    string
		stage   int
		key     string
		mutate  func(*v1alpha1.EmailCampaign)
		wantErr string
	}{
		{name: "key changed", key: "a", mutate: key("b"), wantErr: immutableKey},
		{name: "key added", mutate: key("b"), wantErr: immutableKey},
		{name: "key removed", key: "a", mutate: key(""), wantErr: immutableKey},
		{name: "subject before the start", mutate: subject},
		{name: "list before the start", mutate: list},
		{name: "source before the start", mutate: source},
		{name: "job size before the start", mutate: jobSize(7)},
		{name: "suspend before the start", mutate: suspend},
		{name: "subject after the start", stage: started, mutate: subject, wantErr: frozenMessage},
		{name: "HTML after the start", stage: started, mutate: html, wantErr: frozenMessage},
		{name: "sender after the start", stage: started, mutate: sender, wantErr: frozenMessage},
		{name: "header after the start", stage: started, mutate: header, wantErr: frozenMessage},
		{name: "list after the start", stage: started, mutate: list, wantErr: frozenRecipients},
		{name: "source after the start", stage: started, mutate: source, wantErr: frozenRecipients},
		{name: "format after the start", stage: started, mutate: format, wantErr: frozenRecipients},
		{name: "job size after the start", stage: started, mutate: jobSize(7), wantErr: frozenJobSize},
		{name: "suspend after the start", stage: started, mutate: suspend},
		{name: "readiness after the start", stage: started, mutate: ready},
		{name: "label after the start", stage: started, key: "a", mutate: label},
		{name: "suspend after the end", stage: ended, mutate: suspend, wantErr: frozenSuspend},
		{name: "subject after the end", stage: ended, mutate: subject, wantErr: frozenMessage},
		{name: "label after the end", stage: ended, mutate: label},
	}
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	for i, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			campaign := kubetest.NewCampaign(namespace, fmt.Sprintf("campaign-%d", i)).WithKey(tc.key).Obj()
			if err := cluster.Client.Create(t.Context(), campaign); err != nil {
				t.Fatalf("Creating: %v", err)
			}
			if tc.stage >= started {
				start(t, cluster, campaign)
			}
			if tc.stage >= ended {
				end(t, cluster, campaign)
			}
			tc.mutate(campaign)
			checkRefusal(t, cluster.Client.Update(t.Context(), campaign), tc.wantErr)
		})
	}
}

func TestUpdateStatus(t *testing.T) {
	t.Parallel()
	condition := func(name string) metav1.Condition {
		return metav1.Condition{
			Type: name, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonCompleted, LastTransitionTime: metav1.Now(),
		}
	}
	cases := []struct {
		name    string
		mutate  func(*v1alpha1.EmailCampaignStatus)
		wantErr string
	}{
		{name: "conditions", mutate: func(s *v1alpha1.EmailCampaignStatus) {
			s.Conditions = []metav1.Condition{condition(v1alpha1.ConditionReady), condition(v1alpha1.ConditionComplete)}
		}},
		{name: "condition twice", mutate: func(s *v1alpha1.EmailCampaignStatus) {
			s.Conditions = []metav1.Condition{condition(v1alpha1.ConditionReady), condition(v1alpha1.ConditionReady)}
		}, wantErr: "status.conditions[1]: Duplicate value"},
		{name: "unknown terminal state", mutate: func(s *v1alpha1.EmailCampaignStatus) {
			s.TerminalState = "Done"
		}, wantErr: `status.terminalState: Unsupported value: "Done"`},
		{name: "negative count", mutate: func(s *v1alpha1.EmailCampaignStatus) {
			s.Recipients = &v1alpha1.RecipientCounts{Total: 1, Pending: 2, Active: -1}
		}, wantErr: "status.recipients.active: Invalid value"},
		{name: "ten failures, twenty lines", mutate: func(s *v1alpha1.EmailCampaignStatus) {
			s.Failures = failures(10)
			s.List = &v1alpha1.ListSummary{InvalidLines: lines(20)}
		}},
		{name: "eleven failures", mutate: func(s *v1alpha1.EmailCampaignStatus) {
			s.Failures = failures(11)
		}, wantErr: "status.failures: Too many"},
		{name: "dropped entries", mutate: func(s *v1alpha1.EmailCampaignStatus) {
			s.List = &v1alpha1.ListSummary{Dropped: []v1alpha1.DroppedEntries{{Reason: "NoAt", Count: 30, Lines: lines(20)}, {Reason: "Duplicate", Count: 1}}}
		}},
		{name: "a reason twice", mutate: func(s *v1alpha1.EmailCampaignStatus) {
			s.List = &v1alpha1.ListSummary{Dropped: []v1alpha1.DroppedEntries{{Reason: "NoAt", Count: 30}, {Reason: "NoAt", Count: 1}}}
		}, wantErr: "status.list.dropped[1]: Duplicate value"},
		{name: "21 lines of dropped entries", mutate: func(s *v1alpha1.EmailCampaignStatus) {
			s.List = &v1alpha1.ListSummary{Dropped: []v1alpha1.DroppedEntries{{Reason: "NoAt", Count: 30, Lines: lines(21)}}}
		}, wantErr: "status.list.dropped[0].lines: Too many"},
		{name: "21 lines", mutate: func(s *v1alpha1.EmailCampaignStatus) {
			s.List = &v1alpha1.ListSummary{InvalidLines: lines(21)}
		}, wantErr: "status.list.invalidLines: Too many"},
	}
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	for i, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			campaign := kubetest.NewCampaign(namespace, fmt.Sprintf("campaign-%d", i)).Obj()
			if err := cluster.Client.Create(t.Context(), campaign); err != nil {
				t.Fatalf("Creating: %v", err)
			}
			tc.mutate(&campaign.Status)
			checkRefusal(t, cluster.Client.Status().Update(t.Context(), campaign), tc.wantErr)
		})
	}
}

func failures(n int) []v1alpha1.FailureCount {
	var result []v1alpha1.FailureCount
	for _, category := range numbered(n, "Category%d") {
		result = append(result, v1alpha1.FailureCount{Category: category, EnhancedCode: "5.1.1", Count: 1})
	}
	return result
}

func lines(n int32) []int32 {
	var result []int32
	for i := range n {
		result = append(result, i+1)
	}
	return result
}
