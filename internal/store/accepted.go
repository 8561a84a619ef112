package store

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"

	"github.com/cartero-mail/cartero/internal/campaign"
)

const (
	// togetherFor is the time within which recipients that were accepted are written with the time of the last of them.
	togetherFor = 100 * time.Millisecond
	// rangeRows is the least number of neighbours that are written as a range of ids.
	rangeRows = 4
)

// acceptedGroup are recipients that were accepted with the same reply at about the same time.
type acceptedGroup struct {
	code     int
	enhanced string
	at       time.Time // the latest
	ids      []string
	// neighbours: between the first and the last id, the token holds nobody else who is announced.
	neighbours bool
}

// takeAccepted splits results into groups of the accepted, and the ids of all others. With ranges, neighbours are found by
// their positions.
func takeAccepted(results map[string]*campaign.Result, ids []string, ranges bool) (groups []acceptedGroup, others []string) {
	accepted := make([]*campaign.Result, 0, len(ids))
	for _, id := range ids {
		if result := results[id]; result.State == campaign.StateAccepted && result.CountAttempt {
			accepted = append(accepted, result)
		} else {
			others = append(others, id)
		}
	}
	var single []*campaign.Result
	slices.SortFunc(accepted, func(a, b *campaign.Result) int { return cmp.Compare(a.Position, b.Position) })
	for len(accepted) > 0 {
		n := together(accepted, func(before, next *campaign.Result) bool {
			return ranges && before.Position > 0 && next.Position == before.Position+1
		})
		if n >= rangeRows {
			groups = append(groups, groupOf(accepted[:n], true))
		} else {
			single = append(single, accepted[:n]...)
		}
		accepted = accepted[n:]
	}
	slices.SortStableFunc(single, func(a, b *campaign.Result) int {
		return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(a.EnhancedCode, b.EnhancedCode), a.At.Compare(b.At))
	})
	for len(single) > 0 {
		n := min(idChunk, together(single, func(*campaign.Result, *campaign.Result) bool { return true }))
		groups = append(groups, groupOf(single[:n], false))
		single = single[n:]
	}
	return groups, others
}

// together is how many of the first results were accepted with the same reply within togetherFor, each of them being next
// to the one before.
func together(results []*campaign.Result, next func(a, b *campaign.Result) bool) int {
	first := results[0]
	low, high := first.At, first.At
	for i, r := range results[1:] {
		if r.At.Before(low) {
			low = r.At
		}
		if r.At.After(high) {
			high = r.At
		}
		if r.Code != first.Code || r.EnhancedCode != first.EnhancedCode || high.Sub(low) > togetherFor || !next(results[i], r) {
			return i + 1
		}
	}
	return len(results)
}

func groupOf(results []*campaign.Result, neighbours bool) acceptedGroup {
	group := acceptedGroup{
		code: results[0].Code, enhanced: results[0].EnhancedCode, neighbours: neighbours,
		ids: make([]string, 0, len(results)),
	}
	for _, r := range results {
		group.ids = append(group.ids, r.RecipientID)
		if r.At.After(group.at) {
			group.at = r.At
		}
	}
	return group
}

// acceptedUpdate is what apply writes for an accepted recipient, in one statement for many. firstAttemptAt comes first:
// MySQL assigns from left to right, and it takes the announcement's time. Who is not as Announce left him is not touched.
const acceptedUpdate = "UPDATE `Recipient` " + byID + " SET `firstAttemptAt` = COALESCE(`firstAttemptAt`, `announcedAt`)," +
	" `status` = 'SENT', `state` = 'accepted', `attempts` = `attempts` + 1, `sentAt` = ?, `completedAt` = ?, `smtpCode` = ?," +
	" `enhancedCode` = ?, `error` = NULL, `category` = NULL, `nextAttemptAt` = NULL, `leaseToken` = NULL, `announcedAt` = NULL" +
	" WHERE `leaseToken` = ? AND `state` = 'active' AND `status` = 'FAILED' AND `announcedAt` IS NOT NULL AND `id` "

// recordAccepted writes the groups, and returns how many recipients changed and the ids of the groups in which somebody
// was not as expected: ended by a legacy program, in doubt, or no longer the token's. Those are still to be looked at.
func recordAccepted(tx *gorm.DB, token string, groups []acceptedGroup) (changed int, unexpected []string, err error) {
	for _, g := range groups {
		when := at(g.at)
		values := append(make([]any, 0, 5+len(g.ids)),
			when, when, orNull(g.code), orNull(cut(g.enhanced, enhancedCodeWidth)), token)
		condition := "BETWEEN ? AND ?"
		if g.neighbours {
			values = append(values, g.ids[0], g.ids[len(g.ids)-1])
		} else {
			condition = "IN (?" + strings.Repeat(",?", len(g.ids)-1) + ")"
			for _, id := range g.ids {
				values = append(values, id)
			}
		}
		done, err := tx.Statement.ConnPool.ExecContext(tx.Statement.Context, hinted(tx, acceptedUpdate)+condition, values...)
		if err != nil {
			return 0, nil, fmt.Errorf("writing the accepted: %w", err)
		}
		n, err := done.RowsAffected()
		if err != nil {
			return 0, nil, fmt.Errorf("counting the accepted: %w", err)
		}
		if n > int64(len(g.ids)) {
			return 0, nil, errNoNeighbours
		}
		if changed += int(n); n < int64(len(g.ids)) {
			unexpected = append(unexpected, g.ids...)
		}
	}
	return changed, unexpected, nil
}
