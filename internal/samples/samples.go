// Package samples makes the recipient list of config/samples and says what must come out when the samples are applied.
// The list is as people send them: exported by a spreadsheet, kept by hand for years.
package samples

//go:generate go run ./generate ../../config/samples/recipients.csv

// Expected is what a sample comes to once it is complete.
type Expected struct {
	// Rows is the number of entries of its list.
	Rows int64
	// Duplicates, Invalid and InvalidLines are what reading the list must count.
	Duplicates   int64
	Invalid      int64
	InvalidLines []int
	// Refused counts the recipients that the inbox of cartero dev refuses, by their domain.
	Refused map[string]int64
}

// Recipients is the number of recipients that the campaign has: the rows that are neither duplicate nor invalid.
func (e Expected) Recipients() int64 { return e.Rows - e.Duplicates - e.Invalid }

// Delivered is the number of mails that must be in the inbox of cartero dev.
func (e Expected) Delivered() int64 {
	delivered := e.Recipients()
	for _, n := range e.Refused {
		delivered -= n
	}
	return delivered
}

// Campaigns are the samples by the name of their EmailCampaign.
var Campaigns = map[string]Expected{
	"newsletter-autumn": {
		Rows: 1000, Duplicates: 25, Invalid: 12,
		InvalidLines: []int{56, 138, 219, 300, 382, 464, 545, 627, 709, 790, 872, 954},
		Refused:      map[string]int64{"bounce.example": 4, "full.example": 2, "blocked.example": 2},
	},
	"welcome-inline": {Rows: 3},
}
