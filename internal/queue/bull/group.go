package bull

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/google/uuid"
)

// groupedID is the id of a job in a queue whose limiter counts by group: Bull's producers append the group to it, from
// which the workers read it. Elsewhere it is the job's own.
func (q *Queue) groupedID(job Job) (string, error) {
	path := q.config.Limiter.GroupKey
	if path == "" {
		return job.ID, nil
	}
	group, err := groupOf(job.Data, path)
	if err != nil {
		return job.ID, err
	}
	id := job.ID
	if id == "" {
		id = uuid.NewString()
	}
	if id += ":" + group; isReserved(id) {
		return job.ID, fmt.Errorf("the group in the data's field %s makes the id one of Bull's own key names", path)
	}
	return id, nil
}

// groupOf reads the group from a job's data, as a JavaScript template would write it. The path is a field's name, or
// names with dots between them.
func groupOf(data []byte, path string) (string, error) {
	text, err := groupText(field(data, path))
	if err != nil {
		return "", fmt.Errorf("the data's field %s, by which jobs are limited, %w", path, err)
	}
	return text, nil
}

// field finds a value; nil if there is none. A field whose name has dots comes first.
func field(data []byte, path string) json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal(data, &object) != nil {
		return nil
	}
	if value, ok := object[path]; ok {
		return value
	}
	head, rest, ok := strings.Cut(path, ".")
	if !ok {
		return nil
	}
	return field(object[head], rest)
}

func groupText(raw json.RawMessage) (string, error) {
	if raw == nil {
		return "undefined", nil
	}
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		return "", err
	}
	switch value := value.(type) {
	case nil:
		return "null", nil
	case bool:
		return strconv.FormatBool(value), nil
	case float64:
		if value != float64(int64(value)) || value > 1<<53 || value < -1<<53 {
			return "", errors.New("must be a whole number")
		}
		return strconv.FormatInt(int64(value), 10), nil
	case string:
		if value == "" || strings.Contains(value, ":") || strings.ContainsFunc(value, unicode.IsControl) {
			return "", errors.New("must not be empty, nor have a colon: Bull takes what follows the last one for the group")
		}
		return value, nil
	}
	return "", errors.New("must be text or a number")
}
