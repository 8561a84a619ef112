package controllers

import (
	"regexp"
	"strings"
	"time"

	"github.com/cartero-mail/cartero/api/v1alpha1"
	"github.com/cartero-mail/cartero/internal/campaign"
)

// policyOf is what the spec has workers do with the campaign's mails. It fails on a pattern that is no RE2 expression.
func policyOf(spec *v1alpha1.EmailCampaignSpec) (campaign.Policy, error) {
	rules, err := rulesOf(spec.FailurePolicy)
	if err != nil {
		return campaign.Policy{}, err
	}
	return campaign.Policy{
		Retry: retryOf(spec.Retry), Rate: rateOf(spec.Throttle), Rules: rules, Abort: abortOf(spec.AbortPolicy),
	}, nil
}

func retryOf(spec *v1alpha1.Retry) campaign.Retry {
	if spec == nil {
		return campaign.Retry{}
	}
	return campaign.Retry{
		MaxAttempts:    int(number(spec.MaxAttempts)),
		InitialBackoff: time.Duration(number(spec.InitialBackoffSeconds)) * time.Second,
		MaxBackoff:     time.Duration(number(spec.MaxBackoffSeconds)) * time.Second,
		MaxAge:         time.Duration(number(spec.MaxAgeSeconds)) * time.Second,
		InDoubt:        spec.InDoubt == v1alpha1.InDoubtRetry,
	}
}

func rateOf(spec *v1alpha1.Throttle) campaign.Rate {
	if spec == nil || spec.Rate == nil {
		return campaign.Rate{}
	}
	return campaign.Rate{
		Messages: int(spec.Rate.Messages),
		Period:   time.Duration(spec.Rate.PeriodSeconds) * time.Second,
		Burst:    max(1, int(number(spec.Rate.Burst))),
	}
}

func rulesOf(spec *v1alpha1.FailurePolicy) ([]campaign.Rule, error) {
	if spec == nil {
		return nil, nil
	}
	rules := make([]campaign.Rule, len(spec.Rules))
	for i, rule := range spec.Rules {
		replies := rule.OnReplies
		if _, err := regexp.Compile(replies.Pattern); err != nil {
			return nil, invalidSpec("spec.failurePolicy.rules[%d].onReplies.pattern is no regular expression (RE2): %w", i, err)
		}
		rules[i] = campaign.Rule{Action: campaign.Action(rule.Action), Pattern: replies.Pattern}
		for _, code := range replies.Codes {
			rules[i].Codes = append(rules[i].Codes, int(code))
		}
		rules[i].EnhancedCodes = append(rules[i].EnhancedCodes, replies.EnhancedCodes...)
		for _, stage := range replies.Stages {
			rules[i].Stages = append(rules[i].Stages, strings.ToLower(string(stage)))
		}
	}
	return rules, nil
}

func abortOf(spec *v1alpha1.AbortPolicy) campaign.Abort {
	if spec == nil {
		return campaign.Abort{}
	}
	return campaign.Abort{
		MinSample:            int(number(spec.MinSample)),
		MaxHardBouncePercent: int(number(spec.MaxHardBouncePercent)),
		MaxFailedPercent:     int(number(spec.MaxFailedPercent)),
		Fail:                 spec.Action == v1alpha1.AbortFail,
	}
}

// number is what is written, or 0.
func number(n *int32) int32 {
	if n == nil {
		return 0
	}
	return *n
}
