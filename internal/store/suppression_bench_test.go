package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// BenchmarkSeal seals campaigns of 100,000 recipients: one that does not look at the suppression list, one that finds a
// hundredth of its recipients there, and one that finds half of them. The list has as many entries for others.
func BenchmarkSeal(b *testing.B) {
	const recipients, jobSize = 100_000, 1000
	eachDatabase(b, func(b *testing.B, db database) {
		b.Helper()
		s := benchStore(b, db)
		shards := make([][]campaign.Recipient, recipients/jobSize)
		for i := range shards {
			for j := range jobSize {
				shards[i] = append(shards[i], campaign.Recipient{Address: fmt.Sprintf("Ada%d@example.com", i*jobSize+j)})
			}
		}
		key, listed := 0, 0
		for _, one := range []int{0, 100, 2} {
			for ; one > 0 && listed < recipients/one; listed += 500 {
				var entries []campaign.Suppression
				for i := range 500 {
					for _, name := range []string{"ada", "bob"} {
						entries = append(entries, campaign.Suppression{
							SuppressionKey: campaign.SuppressionKey{Address: fmt.Sprintf("%s%d@example.com", name, listed+i)},
							Reason:         campaign.SuppressedManual, CreatedAt: time.Now(),
						})
					}
				}
				if _, err := s.Suppress(b.Context(), entries); err != nil {
					b.Fatal(err)
				}
			}
			b.Run(fmt.Sprintf("one in %d", one), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					key++
					draft := campaign.Draft{
						Key: fmt.Sprintf("bench/%d", key), Origin: campaign.OriginKubernetes, JobSize: jobSize, CreatedAt: time.Now(),
						Content: campaign.Content{Subject: "News", Text: "Hi", Suppress: one > 0},
					}
					if _, err := s.Open(b.Context(), draft); err != nil {
						b.Fatal(err)
					}
					for i, shard := range shards {
						if err := s.WriteShard(b.Context(), campaign.Shard{Key: draft.Key, Number: i, Recipients: shard}); err != nil {
							b.Fatal(err)
						}
					}
					b.StartTimer()
					if _, err := s.Seal(b.Context(), draft.Key, campaign.Totals{Recipients: recipients, Jobs: len(shards)}, time.Now()); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(b.N)/recipients, "µs/recipient")
				b.ReportMetric(0, "ns/op")
			})
		}
	})
}
