-- Ends a suspension in the spec, or else a pause that Cartero imposed.
if obj.spec.suspend then
  obj.spec.suspend = false
  return obj
end
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["mail.cartero.dev/resume-at"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
