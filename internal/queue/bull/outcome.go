package bull

import "errors"

// unrecoverable marks an error after which a job must not be tried again.
type unrecoverable struct{ err error }

func (e unrecoverable) Error() string { return e.err.Error() }
func (e unrecoverable) Unwrap() error { return e.err }

// Unrecoverable makes the job fail for good, whatever attempts it has left. A nil error stays nil.
func Unrecoverable(err error) error {
	if err == nil {
		return nil
	}
	return unrecoverable{err}
}

func isUnrecoverable(err error) bool {
	var u unrecoverable
	return errors.As(err, &u)
}
