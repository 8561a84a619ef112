package demo

import (
	"context"
	"fmt"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// Recipients lists what became of a campaign's recipients.
type Recipients interface {
	// EachRecipient calls visit for every recipient of the campaign, in id order.
	EachRecipient(ctx context.Context, key string, visit func(jobID, address string, state campaign.State) error) error
}

// Comparison is how an inbox compares with the database.
type Comparison struct {
	// Accepted is the number of recipients that the database calls accepted.
	Accepted int
	// Missing are those of them whose mail is not in the inbox; Twice those whose mail is there more than once.
	Missing int
	Twice   int
	// Unexpected is the number of mails in the inbox that no accepted recipient stands for.
	Unexpected int
	// Open is the number of recipients in a state that is not an end.
	Open int
	// InDoubt is the number of recipients of whom nobody can know whether their mail was accepted.
	InDoubt int
}

// Exact reports whether the inbox holds the accepted mails, each once, and nothing else, and everybody's end is known.
func (c Comparison) Exact() bool {
	return c.Missing == 0 && c.Twice == 0 && c.Unexpected == 0 && c.Open == 0 && c.InDoubt == 0
}

// Compare compares what the database knows of the campaigns with an inbox: Message-ID → number of mails. senders has
// the sender address of each campaign key.
func Compare(ctx context.Context, recipients Recipients, senders map[string]string, inbox map[string]int) (Comparison, error) {
	var result Comparison
	expected := map[string]bool{}
	for key, sender := range senders {
		err := recipients.EachRecipient(ctx, key, func(jobID, address string, state campaign.State) error {
			id := campaign.MessageID(jobID, address, sender)
			switch {
			case state == campaign.StateAccepted:
				result.Accepted++
				expected[id] = true
			case state == campaign.StateInDoubt:
				result.InDoubt++
				expected[id] = true
			case !state.Terminal():
				result.Open++
			}
			switch n := inbox[id]; {
			case state == campaign.StateAccepted && n == 0:
				result.Missing++
			case n > 1:
				result.Twice++
			}
			return nil
		})
		if err != nil {
			return result, fmt.Errorf("reading the recipients of campaign %s: %w", key, err)
		}
	}
	for id := range inbox {
		if !expected[id] {
			result.Unexpected++
		}
	}
	return result, nil
}
