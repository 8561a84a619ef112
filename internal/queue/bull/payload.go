package bull

import (
	"encoding/json"
	"errors"
)

// payload is the data of an e-mail job: exactly this one field.
type payload struct {
	JobUUID string `json:"jobUuid"`
}

func encodeRing(jobID string) ([]byte, error) {
	return json.Marshal(payload{JobUUID: jobID})
}

// JobUUID reads the id of the EmailJob from the data of a job, whichever program wrote it.
func JobUUID(data []byte) (string, error) {
	var p payload
	if err := json.Unmarshal(data, &p); err != nil || p.JobUUID == "" {
		return "", errors.New(`the job's data is not {"jobUuid": "<EmailJob.id>"}`)
	}
	return p.JobUUID, nil
}
