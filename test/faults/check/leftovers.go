package check

import (
	"slices"
	"strconv"
	"strings"
)

// nothingTold is I7. What it finds it doesn't repeat.
func (j *judge) nothingTold() {
	for name, text := range j.Outputs {
		number := 0
		for line := range strings.Lines(text) {
			number++
			j.hush(name+":"+strconv.Itoa(number), line)
		}
	}
	for _, key := range j.Queue {
		j.hush(key.Name, key.Name+" "+strings.Join(key.Values, " "))
	}
	for i, e := range j.History {
		place := "history:" + strconv.Itoa(i+1)
		if e.Kind == KindTold {
			j.hush(place, e.Note)
		}
		if e.Status != nil {
			j.hush(place, e.Status.Text)
		}
	}
}

func (j *judge) hush(place, text string) {
	text = strings.ToLower(text)
	for i, secret := range j.Secrets {
		if strings.Contains(text, strings.ToLower(secret)) {
			j.found("I7", place, "it tells secret number %d", i+1)
		}
	}
}

// waits are the parts of the queue in which nothing may be once all jobs have ended.
var waits = []string{"wait", "paused", "active", "delayed", "priority"}

// nothingLeft is I8.
func (j *judge) nothingLeft() {
	j.queueIsEmpty()
	for _, lease := range j.Leases {
		j.found("I8", lease, "the lease still runs")
	}
	for _, name := range j.Journals {
		j.found("I8", name, "the journal was not replayed")
	}
	deleting, names := map[string]bool{}, map[string]string{}
	for _, e := range j.History {
		switch {
		case e.Kind == KindGone:
			delete(deleting, e.Note)
		case e.Status != nil && e.Status.Deleting:
			deleting[e.Status.UID], names[e.Status.UID] = true, e.Status.Name
		}
	}
	for uid := range deleting {
		j.found("I8", names[uid], "it is deleted, and still there")
	}
}

func (j *judge) queueIsEmpty() {
	known := map[string]bool{} // jobs that have ended in the queue's eyes
	for _, key := range j.Queue {
		if kind := lastPart(key.Name); kind == "completed" || kind == "failed" {
			for _, id := range key.Values {
				known[id] = true
			}
		}
	}
	for _, key := range j.Queue {
		kind := lastPart(key.Name)
		switch {
		case slices.Contains(waits, kind) && len(key.Values) > 0:
			j.found("I8", key.Name, "it still holds %d jobs", len(key.Values))
		case kind == "lock":
			j.found("I8", key.Name, "the job is still locked")
		case key.Type == "hash" && strings.Count(kind, "-") >= 4 && !known[kind]: // a job's id begins with a UUID
			j.found("I8", key.Name, "the job is in no part of the queue")
		}
	}
}

// lastPart is what is behind the last colon.
func lastPart(name string) string { return name[strings.LastIndexByte(name, ':')+1:] }
