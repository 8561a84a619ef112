// Package crdschema checks an EmailCampaign as the API server does when it is created, without one: fields that the
// schema does not know, defaults, types and bounds, and the CEL rules.
package crdschema

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	schemacel "k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	apiservervalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/cartero-mail/cartero/config/crd"
	"github.com/cartero-mail/cartero/internal/manifest"
)

// Schema is that of EmailCampaign. It is safe for concurrent use.
type Schema struct {
	structural *structuralschema.Structural
	validator  apiservervalidation.SchemaValidator
	rules      *schemacel.Validator
}

// New compiles the schema that this build has. It takes about a tenth of a second.
func New() (*Schema, error) {
	names, err := fs.Glob(crd.Bases, "bases/*_emailcampaigns.yaml")
	if err != nil || len(names) != 1 {
		return nil, errors.Join(errors.New("the CRD of EmailCampaign is not in this build"), err)
	}
	text, err := crd.Bases.ReadFile(names[0])
	if err != nil {
		return nil, fmt.Errorf("reading the CRD: %w", err)
	}
	var definition apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(text, &definition); err != nil {
		return nil, fmt.Errorf("reading the CRD: %w", err)
	}
	i := slices.IndexFunc(definition.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool { return v.Storage })
	if i < 0 {
		return nil, errors.New("the CRD of EmailCampaign has no version")
	}
	var internal apiextensions.CustomResourceValidation
	err = apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(
		definition.Spec.Versions[i].Schema, &internal, nil)
	if err != nil {
		return nil, fmt.Errorf("converting the CRD: %w", err)
	}
	return compile(internal.OpenAPIV3Schema)
}

func compile(props *apiextensions.JSONSchemaProps) (*Schema, error) {
	structural, err := structuralschema.NewStructural(props)
	if err != nil {
		return nil, fmt.Errorf("compiling the CRD: %w", err)
	}
	structural = structural.DeepCopy()
	if err := defaulting.PruneDefaults(structural); err != nil {
		return nil, fmt.Errorf("compiling the CRD's defaults: %w", err)
	}
	validator, _, err := apiservervalidation.NewSchemaValidator(props)
	if err != nil {
		return nil, fmt.Errorf("compiling the CRD's validation: %w", err)
	}
	return &Schema{structural, validator, schemacel.NewValidator(structural, true, celconfig.PerCallLimit)}, nil
}

// Apply checks an object as the API server does on creation, in its order, and fills in the defaults. The object is
// pruned of what the schema does not know. Problems are in the order of their paths. One without a namespace is in
// "default", as for kubectl.
func (s *Schema) Apply(ctx context.Context, object map[string]any) []manifest.Problem {
	_, _, unknown, err := objectmeta.GetObjectMetaWithOptions(object, objectmeta.ObjectMetaOptions{ReturnUnknownFieldPaths: true})
	if err != nil {
		return []manifest.Problem{{Path: "metadata", Message: "has a field of another type than it must be"}}
	}
	unknown = append(unknown, pruning.PruneWithOptions(object, s.structural, true,
		structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})...)
	var problems []manifest.Problem
	for _, path := range unknown {
		problems = append(problems, manifest.Problem{Path: path, Message: "there is no such field", Unknown: true})
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(object, s.structural)
	defaulting.Default(object, s.structural)
	for _, err := range s.validate(ctx, object) {
		problems = append(problems, problemOf(err))
	}
	slices.SortStableFunc(problems, func(a, b manifest.Problem) int { return strings.Compare(a.Path, b.Path) })
	return problems
}

func (s *Schema) validate(ctx context.Context, object map[string]any) field.ErrorList {
	u := &unstructured.Unstructured{Object: object}
	if u.GetNamespace() == "" {
		u.SetNamespace("default")
	}
	errs := validation.ValidateObjectMetaAccessor(u, true, validation.NameIsDNSSubdomain, field.NewPath("metadata"))
	errs = append(errs, apiservervalidation.ValidateCustomResource(nil, object, s.validator)...)
	errs = append(errs, objectmeta.Validate(ctx, nil, object, s.structural, false)...)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, s.structural, object)...)
	if s.rules == nil || blocks(errs) {
		return errs
	}
	broken, _ := s.rules.Validate(ctx, nil, s.structural, object, nil, celconfig.RuntimeCELCostBudget)
	return append(errs, broken...)
}

// blocks reports whether the API server does not evaluate rules behind such errors: they would fail for the wrong reason.
func blocks(errs field.ErrorList) bool {
	return slices.ContainsFunc(errs, func(err *field.Error) bool {
		switch err.Type {
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
			return true
		default:
			return false
		}
	})
}

func problemOf(err *field.Error) manifest.Problem {
	problem := manifest.Problem{Path: err.Field, Message: err.Detail}
	switch err.Type {
	case field.ErrorTypeRequired:
		problem.Message = "is required"
	case field.ErrorTypeDuplicate:
		problem.Message = "is there twice"
	case field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeInvalid, field.ErrorTypeNotSupported:
		if text, ok := err.BadValue.(string); ok {
			problem.Value = text
		}
	default:
	}
	if _, text, found := strings.Cut(problem.Message, " in body "); found {
		problem.Message = text
	}
	if problem.Message == "" {
		problem.Message = strings.ToLower(err.Type.String())
	}
	return problem
}
