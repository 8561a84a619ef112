package controllers

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cartero-mail/cartero/api/v1alpha1"
)

// unseen is the state, in metrics, of a campaign that the operator has not written a status for.
const unseen = "Unseen"

// CountByState counts the campaigns that the reader knows by their state: the reason of their condition Ready. The reader is
// to be a cache.
func CountByState(ctx context.Context, reader client.Reader) (map[string]float64, error) {
	var list v1alpha1.EmailCampaignList
	if err := reader.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("counting campaigns: %w", err)
	}
	counts := map[string]float64{}
	for i := range list.Items {
		state := unseen
		if ready := meta.FindStatusCondition(list.Items[i].Status.Conditions, v1alpha1.ConditionReady); ready != nil {
			state = ready.Reason
		}
		counts[state]++
	}
	return counts, nil
}
