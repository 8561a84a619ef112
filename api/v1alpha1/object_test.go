package v1alpha1_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/kubetest"
)

func TestDefaults(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t)
	got := kubetest.NewCampaign(cluster.Namespace(t), "defaults").Obj()
	want := got.DeepCopy()
	if err := cluster.Client.Create(t.Context(), got); err != nil {
		t.Fatalf("Creating: %v", err)
	}

	want.Spec.OnConflict = v1alpha1.ConflictAdopt
	want.Spec.Suspend = new(false)
	want.Spec.Shutdown = v1alpha1.ShutdownNone
	want.Spec.Mode = v1alpha1.ModeSend
	want.Spec.Category = v1alpha1.CategoryMarketing
	want.Spec.Suppression = v1alpha1.SuppressionEnforce
	want.Spec.Message.Engine = v1alpha1.EngineNone
	want.Spec.AbortPolicy = &v1alpha1.AbortPolicy{
		MinSample: new(int32(100)), MaxHardBouncePercent: new(int32(5)), MaxFailedPercent: new(int32(20)), Action: v1alpha1.AbortPause,
	}
	want.Spec.DeletionPolicy = v1alpha1.DeletionStop
	want.Spec.JobSize = new(int32(1000))
	want.Spec.ReadinessPolicy = v1alpha1.ReadinessHandedOff
	want.Spec.Recipients.Format = v1alpha1.FormatCSV
	want.Status.ObservedGeneration = -1
	if diff := cmp.Diff(want, got, cmpopts.IgnoreTypes(metav1.TypeMeta{}, metav1.ObjectMeta{})); diff != "" {
		t.Errorf("Created campaign (-want +got):\n%s", diff)
	}
}

// TestDefaults_Groups: an empty group has the defaults of its fields; what the workers are configured with has none.
func TestDefaults_Groups(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t)
	campaign := kubetest.NewCampaign(cluster.Namespace(t), "defaults").With(func(c *v1alpha1.EmailCampaign) {
		c.Spec.Schedule = &v1alpha1.Schedule{}
		c.Spec.Throttle = &v1alpha1.Throttle{Rate: &v1alpha1.Rate{Messages: 600, PeriodSeconds: 60}}
		c.Spec.Retry = &v1alpha1.Retry{}
		c.Spec.AbortPolicy = &v1alpha1.AbortPolicy{MinSample: new(int32(7))}
	}).Obj()
	if err := cluster.Client.Create(t.Context(), campaign); err != nil {
		t.Fatalf("Creating: %v", err)
	}
	type groups struct {
		Schedule *v1alpha1.Schedule
		Throttle *v1alpha1.Throttle
		Retry    *v1alpha1.Retry
		Abort    *v1alpha1.AbortPolicy
	}
	got := groups{campaign.Spec.Schedule, campaign.Spec.Throttle, campaign.Spec.Retry, campaign.Spec.AbortPolicy}
	want := groups{
		Schedule: &v1alpha1.Schedule{StartingDeadlineSeconds: 86400, TimeZone: "Etc/UTC"},
		Throttle: &v1alpha1.Throttle{Rate: &v1alpha1.Rate{Messages: 600, PeriodSeconds: 60, Burst: new(int32(1))}},
		Retry:    &v1alpha1.Retry{InDoubt: v1alpha1.InDoubtHold},
		Abort: &v1alpha1.AbortPolicy{
			MinSample: new(int32(7)), MaxHardBouncePercent: new(int32(5)), MaxFailedPercent: new(int32(20)), Action: v1alpha1.AbortPause,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Groups (-want +got):\n%s", diff)
	}
}

// TestUnseen: an object that the operator has not seen yet is in progress for whoever follows kstatus.
func TestUnseen(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t)
	campaign := kubetest.NewCampaign(cluster.Namespace(t), "unseen").Obj()
	if err := cluster.Client.Create(t.Context(), campaign); err != nil {
		t.Fatalf("Creating: %v", err)
	}
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("EmailCampaign"))
	if err := cluster.Client.Get(t.Context(), client.ObjectKeyFromObject(campaign), live); err != nil {
		t.Fatalf("Reading: %v", err)
	}
	result, err := status.Compute(live)
	if err != nil {
		t.Fatalf("Computing the status: %v", err)
	}
	if result.Status != status.InProgressStatus {
		t.Errorf("kstatus is %s; want %s", result.Status, status.InProgressStatus)
	}
}

func TestSelectByTerminalState(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	for _, name := range []string{"running", "completed"} {
		campaign := kubetest.NewCampaign(namespace, name).Obj()
		if err := cluster.Client.Create(t.Context(), campaign); err != nil {
			t.Fatalf("Creating %s: %v", name, err)
		}
		if name == "completed" {
			end(t, cluster, campaign)
		}
	}
	for selector, want := range map[string][]string{"Completed": {"completed"}, "": {"running"}} {
		var list v1alpha1.EmailCampaignList
		err := cluster.Client.List(t.Context(), &list, client.InNamespace(namespace),
			client.MatchingFields{"status.terminalState": selector})
		if err != nil {
			t.Fatalf("Listing: %v", err)
		}
		var got []string
		for _, campaign := range list.Items {
			got = append(got, campaign.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Campaigns with terminal state %q (-want +got):\n%s", selector, diff)
		}
	}
}

func TestKubectl_Get(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	campaign := kubetest.NewCampaign(namespace, "launch").Obj()
	if err := cluster.Client.Create(t.Context(), campaign); err != nil {
		t.Fatalf("Creating: %v", err)
	}
	now := metav1.Now()
	campaign.Status = v1alpha1.EmailCampaignStatus{
		ObservedGeneration: 1,
		Conditions: []metav1.Condition{{
			Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonSending,
			Message: "on its way", LastTransitionTime: now,
		}},
		Progress:                "12/20",
		Jobs:                    2,
		StartTime:               &now,
		EstimatedCompletionTime: &metav1.Time{Time: time.Date(2026, 1, 12, 13, 0, 0, 0, time.UTC)},
		Recipients:              &v1alpha1.RecipientCounts{Total: 20, Pending: 8, Accepted: 7, Bounced: 2, Failed: 3},
	}
	if err := cluster.Client.Status().Update(t.Context(), campaign); err != nil {
		t.Fatalf("Updating the status: %v", err)
	}

	const age = "AGE"
	got := columns(cluster.MustKubectl(t, "", "-n", namespace, "get", "ecamp", "-o", "wide"))
	want := [][2]string{
		{"NAME", "launch"},
		{"STATE", "Sending"},
		{"PROGRESS", "12/20"},
		{"FAILED", "3"},
		{"SUSPENDED", "false"},
		{age, ""},
		{"BOUNCED", "2"},
		{"INDOUBT", "0"},
		{"START", ""},
		{"ETA", "2026-01-12T13:00:00Z"},
		{"JOBS", "2"},
		{"MESSAGE", "on its way"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kubectl get -o wide (-want +got):\n%s", diff)
	}

	narrow := columns(cluster.MustKubectl(t, "", "-n", namespace, "get", "mail"))
	if diff := cmp.Diff(want[:6], narrow); diff != "" {
		t.Errorf("kubectl get mail (-want +got):\n%s", diff)
	}
}

// columns reads a table of one row: header and cell of each column. The cells of columns of times are left out.
func columns(table string) [][2]string {
	header, row, _ := strings.Cut(strings.TrimRight(table, "\n"), "\n")
	var result [][2]string
	for at := 0; at < len(header); {
		end := len(header)
		if gap := strings.Index(header[at:], "  "); gap >= 0 {
			end = at + gap
			for end < len(header) && header[end] == ' ' {
				end++
			}
		}
		cell := row[min(at, len(row)):]
		if end < len(header) {
			cell = row[min(at, len(row)):min(end, len(row))]
		}
		name := strings.TrimSpace(header[at:end])
		if name == "AGE" || name == "START" {
			cell = ""
		}
		result = append(result, [2]string{name, strings.TrimSpace(cell)})
		at = end
	}
	return result
}

// TestKubectl_Explain waits until the API server has published the schema of the CRD, which it does some time after it
// serves the kind.
func TestKubectl_Explain(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t)
	for path, want := range map[string]string{
		"ecamp":                         "EmailCampaign is an e-mail campaign",
		"ecamp.spec.campaignKey":        "campaignKey is the identity of the campaign",
		"ecamp.spec.readinessPolicy":    "HandedOff",
		"ecamp.spec.recipients.inline":  "at most 500 entries",
		"ecamp.status.recipients.total": "total is the number of recipients",
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			var output kubetest.Output
			err := wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, time.Minute, true,
				func(context.Context) (bool, error) {
					output = cluster.Kubectl(t, "", "explain", path) //nolint:contextcheck // it takes the test's
					return output.Err == nil, nil
				})
			if err != nil {
				t.Fatalf("kubectl explain %s: %v\n%s", path, output.Err, output.Stderr)
			}
			if text := strings.Join(strings.Fields(output.Stdout), " "); !strings.Contains(text, want) {
				t.Errorf("kubectl explain %s says\n%s\nwant it to contain %q", path, output.Stdout, want)
			}
		})
	}
}

// TestKubectl_Apply shows what somebody reads who applies a wrong manifest, and that a right one can be applied again.
func TestKubectl_Apply(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t)
	const manifest = `apiVersion: mail.cartero.dev/v1alpha1
kind: EmailCampaign
metadata: {name: launch}
spec:
  campaignKey: growth/launch
  message: {subject: News, text: There is news.}
  recipients: {inline: [{address: ada@example.org}]}
`
	cases := []struct {
		name, old, new string
		wantErr        string
	}{
		{name: "right"},
		{name: "unknown field", old: "subject:", new: "title: x, subject:", wantErr: `unknown field "spec.message.title"`},
		{name: "wrong type", old: "  message:", new: "  jobSize: many\n  message:", wantErr: "spec.jobSize"},
		{
			name: "broken rule", old: "growth/launch", new: "Growth",
			wantErr: "spec.campaignKey must be lower-case letters, digits and -._/ and begin and end with a letter or digit",
		},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			namespace := cluster.Namespace(t)
			text := manifest
			if tc.old != "" {
				text = strings.Replace(manifest, tc.old, tc.new, 1)
			}
			for _, want := range []string{"created", "unchanged"} {
				output := cluster.Kubectl(t, text, "-n", namespace, "apply", "-f", "-")
				switch {
				case tc.wantErr == "" && !strings.Contains(output.Stdout, want):
					t.Errorf("kubectl apply says %q %q; want it to contain %q", output.Stdout, output.Stderr, want)
				case tc.wantErr != "" && !strings.Contains(output.Stderr, tc.wantErr):
					t.Errorf("kubectl apply says %q; want it to contain %q", output.Stderr, tc.wantErr)
				}
			}
		})
	}
}
