-- Ends a hold.
if obj.metadata.annotations ~= nil then
  obj.metadata.annotations["mail.cartero.dev/hold"] = nil
end
return obj
