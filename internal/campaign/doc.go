// Package campaign is the domain: what a campaign is, how its list becomes jobs and recipients with derived ids, the
// states that a recipient goes through, and the tally of them. It knows neither database nor queue nor Kubernetes; it
// declares the interfaces that it needs of them.
package campaign
