// Command fairness measures how long others wait for a campaign: single mails of POST /send_async, and campaigns of a
// hundred recipients, from the request to the SMTP server while 100,000 mails are being sent. Facade, worker, MariaDB and
// Redis are processes of their own; the SMTP server takes each mail after a time that is set. Before that it measures how much
// of what a limit allows two workers send together. `make bench-fairness` runs it.
package main
