package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jhillyerd/enmime/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/kubetest"
	"github.com/cartero-mail/cartero/test/harness"
)

// TestTemplates plans a campaign whose HTML and list are in a Secret, finds a variable that one recipient lacks, and sends
// it when that is mended: what arrives is what the columns of each line make of the template.
func TestTemplates(t *testing.T) {
	t.Parallel()
	onEachStack(t, func(t *testing.T, w *harness.World) {
		t.Helper()
		links := harness.Env{"UNSUBSCRIBE_URL": "https://mail.news.example.com/unsubscribe/", "UNSUBSCRIBE_KEY": strings.Repeat("k", 32)}
		w.StartOperator(harness.Env{"UNSUBSCRIBE_URL": links["UNSUBSCRIBE_URL"]})
		w.StartWorker(t.TempDir(), links)
		const html = "<p>{{name}}, your <b>{{plan}}</b> plan ends.</p>\n<p><a href=\"{{unsubscribeURL}}\">Leave</a></p>"
		files := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: "spring"},
			StringData: map[string]string{"page.html": html, "list.csv": "email,name,plan\nada@example.org,Ada,A & B\nbob@example.org,Bob\n"},
		}
		object := kubetest.NewCampaign(w.Namespace, "spring").WithSecret("spring", "list.csv", v1alpha1.FormatCSV).
			With(func(c *v1alpha1.EmailCampaign) {
				c.Spec.Mode = v1alpha1.ModeDryRun
				c.Spec.Message = v1alpha1.Message{
					Engine: v1alpha1.EngineMustache, Subject: "{{plan}} of {{name}}",
					HTMLFrom: &v1alpha1.BodySource{SecretKeyRef: &v1alpha1.SecretKeyReference{Name: "spring", Key: "page.html"}},
				}
				c.Spec.Unsubscribe = &v1alpha1.Unsubscribe{ListID: "news.news.example.com"}
			}).Obj()
		for _, o := range []client.Object{files, object} {
			if err := w.Cluster.Client.Create(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
		w.AwaitCondition("spring", "Stalled", v1alpha1.ReasonInvalidRecipients)
		mend := func(list string) {
			files.StringData = map[string]string{"list.csv": list}
			if err := w.Cluster.Client.Update(t.Context(), files); err != nil {
				t.Fatal(err)
			}
		}
		mend(`{"email":"ada@example.org","name":"Ada","variables":{"plan":"A & B"}}` + "\n" + `{"email":"bob@example.org"}` + "\n")
		harness.Kubectl(t, w.Kubeconfig, "", "patch", "--namespace", w.Namespace, "emailcampaign/spring", "--type=merge",
			"-p", `{"spec":{"recipients":{"format":"JSONLines"}}}`)
		told := w.AwaitCondition("spring", "Stalled", v1alpha1.ReasonInvalidTemplate).Message
		for _, words := range []string{"line 2 of Secret \"spring\"", "subject: line 1, column 1", `"plan" is missing`} {
			if !strings.Contains(told, words) {
				t.Errorf("message %q does not say %q", told, words)
			}
		}
		mend(`{"email":"ada@example.org","name":"Ada","variables":{"plan":"A & B"}}` + "\n" +
			`{"email":"bob@example.org","name":"Bob","variables":{"plan":"C"}}` + "\n")
		w.AwaitCondition("spring", "Ready", v1alpha1.ReasonPlanned)
		planned := w.Campaign("spring").Status
		if n := len(w.Recipients(t)); n != 0 || planned.Plan.Recipients != 2 || len(planned.Plan.Warnings) != 0 {
			t.Errorf("after a dry run the database has %d recipients, and the plan is %+v", n, planned.Plan)
		}

		harness.Kubectl(t, w.Kubeconfig, "", "patch", "--namespace", w.Namespace, "emailcampaign/spring", "--type=merge",
			"-p", `{"spec":{"mode":"Send"}}`)
		if sent := w.AwaitComplete("spring").Status; sent.Recipients.Accepted != 2 || sent.ContentHash != planned.ContentHash {
			t.Errorf("%+v, content %s, planned %s", sent.Recipients, sent.ContentHash, planned.ContentHash)
		}
		got := map[string]string{}
		for _, m := range w.Relay.Messages() {
			raw, err := w.Relay.Raw(m.ID)
			if err != nil {
				t.Fatal(err)
			}
			mail, err := enmime.ReadEnvelope(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			link := strings.TrimSuffix(strings.TrimPrefix(mail.GetHeader("List-Unsubscribe"), "<"), ">")
			if !strings.HasPrefix(link, links["UNSUBSCRIBE_URL"]) || len(link) < len(links["UNSUBSCRIBE_URL"])+40 {
				t.Errorf("List-Unsubscribe is %q", link)
			}
			show := func(text string) string {
				return strings.TrimSpace(strings.ReplaceAll(strings.ReplaceAll(text, link, "LINK"), "\r\n", "\n"))
			}
			got[m.Recipients[0]] = fmt.Sprintf("%s|%s|%s|%s|%s", mail.GetHeader("Subject"), mail.GetHeader("List-Unsubscribe-Post"),
				mail.GetHeader("List-Id"), show(mail.HTML), show(mail.Text))
		}
		const both = "|List-Unsubscribe=One-Click|<news.news.example.com>|"
		want := map[string]string{
			"ada@example.org": "A & B of Ada" + both + "<p>Ada, your <b>A &amp; B</b> plan ends.</p>\n<p><a href=\"LINK\">Leave</a></p>|" +
				"Ada, your A & B plan ends.\n\nLeave (LINK)",
			"bob@example.org": "C of Bob" + both + "<p>Bob, your <b>C</b> plan ends.</p>\n<p><a href=\"LINK\">Leave</a></p>|" +
				"Bob, your C plan ends.\n\nLeave (LINK)",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("mails at the relay (-want +got):\n%s", diff)
		}
	})
}
