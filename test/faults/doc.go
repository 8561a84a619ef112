// Package faults holds the tests that kill operator and workers at random while a campaign is sent. It has no code of its
// own.
package faults
