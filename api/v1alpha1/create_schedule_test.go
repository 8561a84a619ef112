package v1alpha1_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cartero-mail/cartero/api/v1alpha1"
)

// schedule makes a mutation that sets a schedule.
func schedule(schedule v1alpha1.Schedule) func(*v1alpha1.EmailCampaign) {
	return spec(func(s *v1alpha1.EmailCampaignSpec) { s.Schedule = &schedule })
}

func windows(windows ...v1alpha1.Window) func(*v1alpha1.EmailCampaign) {
	return schedule(v1alpha1.Schedule{Windows: windows})
}

func TestCreate_Schedule(t *testing.T) {
	t.Parallel()
	startTime := func(at time.Time, deadline int64) func(*v1alpha1.EmailCampaign) {
		return schedule(v1alpha1.Schedule{StartTime: &metav1.Time{Time: at}, StartingDeadlineSeconds: deadline})
	}
	zone := func(name string) func(*v1alpha1.EmailCampaign) { return schedule(v1alpha1.Schedule{TimeZone: name}) }
	var (
		past   = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
		future = time.Date(2101, 1, 1, 0, 0, 0, 0, time.FixedZone("", 2*60*60))
	)
	const badZone = "spec.schedule.timeZone must be the name of a zone of the IANA time zone database, such as Europe/Madrid"
	cases := []campaignCase{
		{name: "empty", mutate: schedule(v1alpha1.Schedule{})},
		{name: "start in the future", mutate: startTime(future, 10)},
		{name: "start in the past", mutate: startTime(past, 3600)},
		{name: "latest start", mutate: startTime(future, 31536000)},
		{
			name: "deadline too short", mutate: startTime(future, 9),
			wantErr: "spec.schedule.startingDeadlineSeconds: Invalid value: 9",
		},
		{
			name: "deadline too long", mutate: startTime(future, 31536001),
			wantErr: "spec.schedule.startingDeadlineSeconds: Invalid value: 31536001",
		},
		{name: "zone too long", mutate: zone(strings.Repeat("Z", 65)), wantErr: "spec.schedule.timeZone: Too long"},
	}
	for _, name := range []string{"UTC", "Etc/UTC", "Europe/Madrid", "America/Argentina/Buenos_Aires", "Etc/GMT+12", "America/Port-au-Prince"} {
		cases = append(cases, campaignCase{name: "zone " + name, mutate: zone(name)})
	}
	for _, name := range []string{"Local", "+02:00", "Europe/", "/Madrid", "Europe//Madrid", "Europe/Madrid ", "../Madrid", "Ciudad de México"} {
		cases = append(cases, campaignCase{name: "no zone " + name, mutate: zone(name), wantErr: badZone})
	}
	runCreate(t, cases)
}

func TestCreate_Windows(t *testing.T) {
	t.Parallel()
	window := func(start, end string, days ...v1alpha1.Day) func(*v1alpha1.EmailCampaign) {
		return windows(v1alpha1.Window{Days: days, Start: start, End: end})
	}
	const (
		path     = "spec.schedule.windows"
		badStart = path + ".start must be a time of the day, HH:MM from 00:00 to 23:59"
		badEnd   = path + ".end must be a time of the day, HH:MM from 00:00 to 24:00"
		noLength = path + " must have a start and an end that differ; 00:00 to 24:00 is the whole day"
	)
	week := []v1alpha1.Day{"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}
	many := make([]v1alpha1.Window, 15)
	for i := range many {
		many[i] = v1alpha1.Window{Days: week, Start: "00:00", End: "23:59"}
	}
	cases := []campaignCase{
		{name: "every day", mutate: window("09:00", "18:00")},
		{name: "days", mutate: window("09:00", "18:00", week...)},
		{name: "whole day", mutate: window("00:00", "24:00", "Sunday")},
		{name: "over midnight", mutate: window("22:00", "06:00", "Friday")},
		{name: "until midnight", mutate: window("22:00", "00:00")},
		{name: "one minute", mutate: window("23:59", "24:00")},
		{name: "overlapping", mutate: windows(v1alpha1.Window{Start: "09:00", End: "18:00"}, v1alpha1.Window{Start: "10:00", End: "11:00"})},
		{name: "14", mutate: windows(many[:14]...)},
		{name: "15", mutate: windows(many...), wantErr: path + ": Too many"},
		{name: "no length", mutate: window("09:00", "09:00"), wantErr: noLength},
		{name: "no start", mutate: window("", "09:00"), wantErr: path + "[0].start: Required value"},
		{name: "no end", mutate: window("09:00", ""), wantErr: path + "[0].end: Required value"},
		{name: "start of six characters", mutate: window("009:00", "10:00"), wantErr: path + "[0].start: Too long"},
		{name: "end of six characters", mutate: window("09:00", "010:00"), wantErr: path + "[0].end: Too long"},
		{name: "unknown day", mutate: window("09:00", "10:00", "Mon"), wantErr: path + `[0].days[0]: Unsupported value: "Mon"`},
		{name: "day twice", mutate: window("09:00", "10:00", "Monday", "Monday"), wantErr: path + "[0].days[1]: Duplicate value"},
		{
			name: "eight days", mutate: window("09:00", "10:00", append(week, "Monday")...), wantErr: path + "[0].days: Too many",
		},
		{
			name:   "the second of two",
			mutate: windows(v1alpha1.Window{Start: "09:00", End: "18:00"}, v1alpha1.Window{Start: "9:00", End: "18:00"}), wantErr: path + "[1].start",
		},
	}
	for _, text := range []string{"9:00", "24:00", "25:00", "09:60", "9am", "09.00", "noon", "09:0a"} {
		cases = append(cases, campaignCase{name: "start " + text, mutate: window(text, "18:00"), wantErr: badStart})
	}
	for _, text := range []string{"6:00", "24:01", "23:60", "6pm", "-1:00", "٠٩:٠٠"} {
		cases = append(cases, campaignCase{name: "end " + text, mutate: window("09:00", text), wantErr: badEnd})
	}
	runCreate(t, cases)
}
