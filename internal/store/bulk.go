package store

import (
	"fmt"
	"strings"

	"github.com/cartero-mail/cartero/internal/campaign"
)

// statement is SQL with its values.
type statement struct {
	text   string
	values []any
}

// recipientInserts are the statements that write the recipients of a new job, each within insertRows and about
// insertBytes. Rows that are there are left alone: on MySQL by ON DUPLICATE KEY UPDATE, not INSERT IGNORE, which would
// also swallow a value that does not fit.
//
// A list of a million passes here, so they are put together by hand. Only what Cartero itself derives or names stands in
// the text; whatever a list says is a value.
func recipientInserts(e engine, jobID string, recipients []campaign.Recipient) ([]statement, error) {
	b := inserts{engine: e, jobID: jobID}
	for i, recipient := range recipients {
		row, err := newRecipientRow(jobID, i, recipient)
		if err != nil {
			return nil, fmt.Errorf("recipient %d: %w", i, err)
		}
		b.add(row, len(recipients)-i)
	}
	b.end()
	return b.done, nil
}

const (
	insertHead = "INSERT INTO `Recipient` (`id`, `jobId`, `email`, `name`, `status`, `state`, `variables`, `address`) VALUES "
	insertTail = " ON DUPLICATE KEY UPDATE `id` = `id`"
	// insertTailSQLite is insertTail in SQLite.
	insertTailSQLite = " ON CONFLICT DO NOTHING"
	// rowText is about the number of bytes that a row has in the text.
	rowText = 120
)

// inserts puts INSERT statements together.
type inserts struct {
	engine engine
	jobID  string
	done   []statement

	text   strings.Builder
	values []any
	rows   int
	bytes  int
}

// add adds a row to the statement in hand, or to the next one if it is full. left is how many rows come, with this one.
func (b *inserts) add(row recipientRow, left int) {
	if size := row.size(); b.rows == insertRows || b.rows > 0 && b.bytes+size > insertBytes {
		b.end()
	}
	if b.rows == 0 {
		left = min(left, insertRows)
		b.text.Grow(len(insertHead) + len(insertTail) + left*rowText)
		b.text.WriteString(insertHead)
		b.values = make([]any, 0, 3*left)
	} else {
		b.text.WriteByte(',')
	}
	b.rows++
	b.bytes += row.size()

	b.text.WriteString("('")
	b.text.WriteString(row.ID)
	b.text.WriteString("','")
	b.text.WriteString(b.jobID)
	b.text.WriteString("',")
	b.value(&row.Email)
	b.text.WriteByte(',')
	b.value(row.Name)
	b.text.WriteString(",'" + string(campaign.LegacyPending) + "','" + string(campaign.StatePending) + "',")
	b.value(row.Variables)
	b.text.WriteByte(',')
	b.value(row.Address)
	b.text.WriteByte(')')
}

func (b *inserts) value(text *string) {
	if text == nil {
		b.text.WriteString("NULL")
		return
	}
	b.text.WriteByte('?')
	b.values = append(b.values, *text)
}

// end completes the statement in hand.
func (b *inserts) end() {
	if b.rows == 0 {
		return
	}
	tail := insertTail
	if b.engine == engineSQLite {
		tail = insertTailSQLite
	}
	b.text.WriteString(tail)
	b.done = append(b.done, statement{b.text.String(), b.values})
	b.text, b.values, b.rows, b.bytes = strings.Builder{}, nil, 0, 0
}
