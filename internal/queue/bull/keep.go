package bull

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
)

// Keep is Bull's removeOnComplete and removeOnFail: what stays in Redis of a finished job. The zero value keeps all.
type Keep struct {
	mode  keepMode
	age   float64 // seconds
	count int64
}

type keepMode int

const (
	keepAll   keepMode = iota
	keepCount          // the newest count; 0: the job goes at once
	keepFor            // what is younger than age, and of that the newest count, if count is more than 0
)

// KeepNone removes the job as soon as it is finished.
func KeepNone() Keep { return Keep{mode: keepCount} }

// KeepNewest keeps the newest n finished jobs.
func KeepNewest(n int) Keep { return Keep{mode: keepCount, count: int64(n)} }

// KeepFor keeps finished jobs for an age of at least a millisecond, and at most the newest n of them; n 0 is no limit.
func KeepFor(age time.Duration, n int) Keep {
	return Keep{mode: keepFor, age: age.Round(time.Millisecond).Seconds(), count: int64(n)}
}

// MarshalJSON writes Bull's form: true, a number, or {"age":seconds,"count":n}. The zero value must be left out by the
// caller (omitzero).
func (k Keep) MarshalJSON() ([]byte, error) {
	switch {
	case k.mode == keepAll:
		return []byte("false"), nil
	case k.mode == keepFor && k.count > 0:
		return json.Marshal(map[string]any{"age": k.age, "count": k.count})
	case k.mode == keepFor:
		return json.Marshal(map[string]float64{"age": k.age})
	case k.count == 0:
		return []byte("true"), nil
	}
	return strconv.AppendInt(nil, k.count, 10), nil
}

// UnmarshalJSON reads whatever another producer wrote. What it can't make sense of keeps all.
func (k *Keep) UnmarshalJSON(text []byte) error {
	*k = Keep{}
	text = bytes.TrimSpace(text)
	if string(text) == "true" {
		*k = KeepNone()
		return nil
	}
	var n float64
	if json.Unmarshal(text, &n) == nil && string(text) != "null" {
		if n >= 0 {
			*k = KeepNewest(int(n))
		}
		return nil
	}
	var rule struct{ Age, Count *float64 }
	if json.Unmarshal(text, &rule) != nil {
		rule.Age, rule.Count = nil, nil
	}
	switch {
	case rule.Age == nil && rule.Count == nil:
	case rule.Count != nil && *rule.Count == 0, rule.Age != nil && *rule.Age <= 0:
		*k = KeepNone()
	case rule.Age == nil && *rule.Count > 0:
		*k = KeepNewest(int(*rule.Count))
	case rule.Age != nil:
		*k = Keep{mode: keepFor, age: *rule.Age}
		if rule.Count != nil {
			k.count = max(int64(*rule.Count), 0)
		}
	}
	return nil
}

// args are the two numbers that the finishing scripts take: the age in seconds, 0 for none, and the count, -1 for all.
func (k Keep) args() (age float64, count int64) {
	switch {
	case k.mode == keepAll:
		return 0, -1
	case k.mode == keepFor && k.count == 0:
		return k.age, -1
	}
	return k.age, k.count
}
