package store_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/cartero-mail/cartero/internal/campaign"
	"github.com/cartero-mail/cartero/internal/mail"
)

// benchBatch is how many mails one transaction of the benchmarks writes: about what a busy facade gathers.
const benchBatch = 128

// BenchmarkSubmit writes mails of 1 KB, as POST /send_async does. cpu-µs/mail is this process's time, without a server's.
func BenchmarkSubmit(b *testing.B) {
	eachDatabase(b, func(b *testing.B, db database) {
		b.Helper()
		s := benchStore(b, db)
		benchMails(b, func(mails []campaign.Submission) {
			if _, err := s.Submit(b.Context(), mails, nil, time.Now()); err != nil {
				b.Fatal(err)
			}
		})
	})
}

// BenchmarkSubmitAndRecord is what POST /send does with the database.
func BenchmarkSubmitAndRecord(b *testing.B) {
	eachDatabase(b, func(b *testing.B, db database) {
		b.Helper()
		s := benchStore(b, db)
		benchMails(b, func(mails []campaign.Submission) {
			token, now := uuid.NewString(), time.Now()
			submitted, err := s.Submit(b.Context(), mails, &campaign.Lease{Token: token, Until: now.Add(time.Minute)}, now)
			if err != nil {
				b.Fatal(err)
			}
			var results []campaign.SubmittedResult
			for _, one := range submitted {
				results = append(results, campaign.SubmittedResult{Token: token, Result: campaign.Result{
					RecipientID: one.Claimed[0].ID, State: campaign.StateAccepted, CountAttempt: true, Code: 250, At: now,
				}})
			}
			if err := s.RecordSubmitted(b.Context(), results, now); err != nil {
				b.Fatal(err)
			}
		})
	})
}

func eachDatabase(b *testing.B, run func(b *testing.B, db database)) {
	b.Helper()
	b.Run("SQLite", func(b *testing.B) { run(b, sqliteDatabase(b)) })
	b.Run("MySQL", func(b *testing.B) {
		needMySQL(b)
		run(b, mysqlDatabase(b))
	})
}

func benchMails(b *testing.B, write func(mails []campaign.Submission)) {
	b.Helper()
	content := campaign.Content{
		From: mail.Address{Address: "shop@example.org"}, Subject: "Reset your password",
		HTML: "<html><body>" + strings.Repeat("<p>Somebody asked for a new password for your account.</p>", 16) + "</body></html>",
	}
	before := cpuTime(b)
	written := 0
	for b.Loop() {
		mails := make([]campaign.Submission, benchBatch)
		for i := range mails {
			mails[i] = campaign.Submission{
				Key: "http/" + uuid.Must(uuid.NewV7()).String(), Content: content, Category: "password_reset", CreatedAt: time.Now(),
				Recipients: []campaign.Recipient{{Address: fmt.Sprintf("ada%d@example.com", written+i)}},
			}
		}
		write(mails)
		written += len(mails)
	}
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(written), "cpu-µs/mail")
	b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(written), "µs/mail")
	b.ReportMetric(0, "ns/op")
}

// cpuTime is the time of this process on processors.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
