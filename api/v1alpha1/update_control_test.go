package v1alpha1_test

import (
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/kubetest"
)

// TestUpdate_Control changes what steers a campaign, before it starts, after that, and after it has ended.
func TestUpdate_Control(t *testing.T) {
	t.Parallel()
	const (
		immutableConflict = "spec.onConflict is immutable; apply a new campaign under another name to change it"
		oneWay            = "spec.shutdown Stop can't be taken back; apply a new campaign under another name and campaignKey to send again"
		frozenStart       = "spec.schedule.startTime is frozen since status.startTime: the campaign has started; " +
			"use spec.suspend or spec.schedule.windows to hold it"
		frozenShutdown = "spec.shutdown is frozen since the campaign has ended (status.terminalState)"
		frozenSuspend  = "spec.suspend is frozen since the campaign has ended (status.terminalState)"
	)
	const (
		fresh   = 1 << iota
		started // status.startTime is set
		ended   // status.terminalState too
		always  = fresh | started | ended
		running = fresh | started
	)
	stages := map[int]string{fresh: "before the start", started: "after the start", ended: "after the end"}
	startsAt := func(at time.Time) func(*v1alpha1.EmailCampaign) {
		return schedule(v1alpha1.Schedule{StartTime: &metav1.Time{Time: at}, Windows: []v1alpha1.Window{{Start: "09:00", End: "18:00"}}})
	}
	var (
		noon    = time.Date(2026, 1, 12, 12, 0, 0, 0, time.UTC)
		minimal = func(*v1alpha1.EmailCampaign) {}
		stop    = spec(func(s *v1alpha1.EmailCampaignSpec) { s.Shutdown = v1alpha1.ShutdownStop })
	)
	cases := []struct {
		name           string
		before, mutate func(*v1alpha1.EmailCampaign)
		allowed        int // the stages in which it is taken; in the others it is refused
		wantErr        string
	}{
		{name: "onConflict", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.OnConflict = v1alpha1.ConflictFail
		}), wantErr: immutableConflict},
		{name: "suspend", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.Suspend = new(true)
		}), allowed: running, wantErr: frozenSuspend},
		{name: "suspend taken away", before: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.Suspend = new(true)
		}), mutate: spec(func(s *v1alpha1.EmailCampaignSpec) { s.Suspend = nil }), allowed: running, wantErr: frozenSuspend},
		{name: "shutdown", mutate: stop, allowed: running, wantErr: frozenShutdown},
		{name: "shutdown taken back", before: stop, mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.Shutdown = v1alpha1.ShutdownNone
		}), wantErr: oneWay},
		{name: "shutdown taken away", before: stop, mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.Shutdown = ""
		}), wantErr: oneWay},
		{name: "start later", before: startsAt(noon), mutate: startsAt(noon.Add(time.Hour)), allowed: fresh, wantErr: frozenStart},
		{name: "start added", mutate: startsAt(noon), allowed: fresh, wantErr: frozenStart},
		{name: "start taken away", before: startsAt(noon), mutate: windows(v1alpha1.Window{Start: "09:00", End: "18:00"}), allowed: fresh, wantErr: frozenStart},
		{name: "schedule taken away", before: startsAt(noon), mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.Schedule = nil
		}), allowed: fresh, wantErr: frozenStart},
		{name: "the same start in another zone", before: startsAt(noon), mutate: startsAt(noon.In(time.FixedZone("", 3600))), allowed: always},
		{name: "windows", before: startsAt(noon), mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.Schedule.Windows = []v1alpha1.Window{{Start: "22:00", End: "06:00"}}
		}), allowed: always},
		{name: "windows added", mutate: windows(v1alpha1.Window{Start: "22:00", End: "06:00"}), allowed: always},
		{name: "windows taken away", before: windows(v1alpha1.Window{Start: "22:00", End: "06:00"}), mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.Schedule = nil
		}), allowed: always},
		{name: "time zone", before: startsAt(noon), mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.Schedule.TimeZone = "Asia/Tokyo"
		}), allowed: always},
		{name: "starting deadline", before: startsAt(noon), mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.Schedule.StartingDeadlineSeconds = 60
		}), allowed: always},
		{name: "active deadline", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.ActiveDeadlineSeconds = new(int64(60))
		}), allowed: always},
		{name: "throttle", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.Throttle = &v1alpha1.Throttle{Rate: &v1alpha1.Rate{Messages: 1, PeriodSeconds: 1}}
		}), allowed: always},
		{name: "retry", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.Retry = &v1alpha1.Retry{MaxAttempts: new(int32(3))}
		}), allowed: always},
		{name: "failure policy", mutate: rules(largestRule()), allowed: always},
		{name: "abort policy", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.AbortPolicy.Action = v1alpha1.AbortFail
		}), allowed: always},
		{name: "deletion policy", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.DeletionPolicy = v1alpha1.DeletionOrphan
		}), allowed: always},
		{name: "TTL", mutate: spec(func(s *v1alpha1.EmailCampaignSpec) {
			s.TTLSecondsAfterFinished = new(int32(60))
		}), allowed: always},
		{name: "annotation", mutate: func(c *v1alpha1.EmailCampaign) {
			c.Annotations = map[string]string{v1alpha1.AnnotationHold: "ana: too early"}
		}, allowed: always},
	}
	cluster := kubetest.Start(t)
	namespace := cluster.Namespace(t)
	for i, tc := range cases {
		for stage, name := range stages {
			t.Run(tc.name+" "+name, func(t *testing.T) {
				t.Parallel()
				if tc.before == nil {
					tc.before = minimal
				}
				campaign := kubetest.NewCampaign(namespace, fmt.Sprintf("campaign-%d-%d", i, stage)).With(tc.before).Obj()
				if err := cluster.Client.Create(t.Context(), campaign); err != nil {
					t.Fatalf("Creating: %v", err)
				}
				if stage >= started {
					start(t, cluster, campaign)
				}
				if stage >= ended {
					end(t, cluster, campaign)
				}
				tc.mutate(campaign)
				want := tc.wantErr
				if tc.allowed&stage != 0 {
					want = ""
				}
				checkRefusal(t, cluster.Client.Update(t.Context(), campaign), want)
			})
		}
	}
}
