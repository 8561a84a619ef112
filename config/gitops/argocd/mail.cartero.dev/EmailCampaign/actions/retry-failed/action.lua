-- Has recipients that failed tried again.
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["mail.cartero.dev/retry-failed-at"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
