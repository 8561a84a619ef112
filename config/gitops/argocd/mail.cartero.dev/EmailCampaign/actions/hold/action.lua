-- Suspends the campaign until it is released. Self-healing leaves the annotation alone, as Git doesn't have it.
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["mail.cartero.dev/hold"] = "by an action of Argo CD at " .. os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
